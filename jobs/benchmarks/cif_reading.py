"""Reading of CIFs against pymatgen and gemmi: is it the same crystal, and how fast is each?

    python jobs/benchmarks/cif_reading.py FOLDER_OR_TABLE...

Every ``.cif`` and ``.mcif`` below the folders is read, block by block, and 500 rows of the column
``cif`` of each table (``.csv``, ``.csv.gz``). What is accepted is compared
with pymatgen's reading: composition, number of atoms, space group. What is refused is counted by
its kind. Rates are CPU times of one process, in which the readers take turns. gemmi's bare reading
parses the file and puts every symmetry operation to every site; it checks nothing, and merges no
atoms.
"""

import signal
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import click
import gemmi
import pandas as pd
from gemmi import cif
from pymatgen.core import Structure as PymatgenStructure
from pymatgen.io.cif import CifParser
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from omnimat.formats.cif.document import decoded
from omnimat.formats.cif.reader import crystal_of
from omnimat.formats.format import Reading
from omnimat.materials.crystals import from_pymatgen, to_pymatgen
from omnimat.materials.record import Structure
from omnimat.materials.validation import validate

# The tolerance at which the two readings must have the same space group.
SYMPREC_ANGSTROM = 0.01


@click.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--max-kilobytes", default=200, show_default=True, help="Larger files are left out.")
@click.option("--pymatgen-s", default=10, show_default=True, help="How long pymatgen may take.")
@click.option("--order", is_flag=True, help="Order disordered crystals, and keep those without H.")
@click.option("--verbose", is_flag=True, help="Name every file that is refused.")
def main(
    folders: tuple[Path, ...], max_kilobytes: int, pymatgen_s: int, order: bool, verbose: bool
) -> None:
    """Compare the two readers; exit with 1 if they differ on a crystal that is accepted."""
    warnings.simplefilter("ignore")
    reading = Reading()
    if order:
        reading = Reading(disorder="nearest_ordered", missing_hydrogens="keep")
    kinds: Counter[str] = Counter()
    seconds: Counter[str] = Counter()
    differences = []
    for name, text in texts(folders, max_kilobytes):
        start = time.process_time()
        try:
            structure, notes = crystal_of(text, reading)
            validate(structure)
        except ValueError as error:
            kinds[str(error).partition(":")[0]] += 1
            if verbose:
                print(f"refused   {name}: {error}")
            continue
        ours_s = time.process_time() - start
        start = time.process_time()
        try:
            peer = within(pymatgen_s, text)
        except Exception as error:  # noqa: BLE001
            kinds["(accepted; pymatgen refuses)"] += 1
            print(f"alone     {name}: {summary(structure)}; pymatgen: {str(error)[:100]!r}")
            continue
        seconds["pymatgen"] += time.process_time() - start
        seconds["ours"] += ours_s
        seconds["gemmi"] += bare_seconds(text)
        kinds["(accepted by both)"] += 1
        ours, theirs = summary(structure), summary(peer)
        if ours != theirs:
            differences.append(name)
            print(f"different {name}: {ours}, pymatgen {theirs} {notes.get('structure', '')}")
    for kind, count in kinds.most_common():
        print(f"{count:6d}  {kind}")
    both = kinds["(accepted by both)"]
    print(f"{len(differences)} of {both} differ")
    if both:
        tell_rates(seconds, both)
    sys.exit(bool(differences))


def tell_rates(seconds: Mapping[str, float], both: int) -> None:
    """Print how fast each reader was on the crystals that ours and pymatgen accept."""
    rates = {name: both / max(one, 1e-9) for name, one in seconds.items()}
    print("crystals per CPU second:", ", ".join(f"{k} {v:.0f}" for k, v in rates.items()))
    for peer in ("gemmi", "pymatgen"):
        print(f"time of ours / {peer}'s: {rates[peer] / rates['ours']:.3g}")


def texts(folders: tuple[Path, ...], max_kilobytes: int) -> Iterator[tuple[str, str]]:
    """Yield each block as a CIF of its own; a file that cannot be parsed as it is."""
    for folder in folders:
        if folder.is_file():
            column = pd.read_csv(folder).cif
            rows = column.sample(min(500, len(column)), random_state=0)
            yield from ((f"row {index}", text) for index, text in rows.items())
        for file in sorted(folder.rglob("*")):
            if file.suffix.lower() not in {".cif", ".mcif"}:
                continue
            if file.stat().st_size > 1000 * max_kilobytes:
                continue
            text = decoded(file.read_bytes())
            try:
                blocks = list(cif.read_string(text, 0))
            except (RuntimeError, ValueError):
                blocks = []
            with_atoms = [block for block in blocks if block.find_values("_atom_site_label")]
            if len(with_atoms) < 2:
                yield file.name, text
                continue
            for block in with_atoms:
                yield f"{file.name}#{block.name}", f"data_{block.name}\n{block.as_string()}"


def read_by_pymatgen(text: str) -> PymatgenStructure:
    """Read the only crystal of a CIF by the second, independent reader."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about every coordinate that it rounds
        (structure,) = CifParser.from_str(text).parse_structures(primitive=False)
    return structure


def bare_seconds(text: str) -> float:
    """Time gemmi's reading of the first crystal, with all sites of its cell but without a check."""
    start = time.process_time()
    block = next(block for block in cif.read_string(text) if block.find_values("_atom_site_label"))
    gemmi.make_small_structure_from_block(block).get_all_unit_cell_sites()
    return time.process_time() - start


def within(limit_s: int, text: str) -> Structure | PymatgenStructure:
    """Read by pymatgen, if it takes no longer than this."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"not within {limit_s} s")

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(limit_s)
    try:
        crystal = read_by_pymatgen(text)
        return from_pymatgen(crystal) if crystal.is_ordered else crystal
    finally:
        signal.alarm(0)


def summary(structure: Structure | PymatgenStructure) -> tuple[str, int, int]:
    """Return composition, number of atoms and space group."""
    crystal = to_pymatgen(structure) if isinstance(structure, Structure) else structure
    try:
        number = int(SpacegroupAnalyzer(crystal, symprec=SYMPREC_ANGSTROM).get_space_group_number())
    except Exception:  # noqa: BLE001
        number = 0
    return str(crystal.composition.formula), len(crystal), number


if __name__ == "__main__":
    main()
