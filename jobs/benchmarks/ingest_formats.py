"""Reading of every format as an ingest does it: records per second of CPU time and core.

    python jobs/benchmarks/ingest_formats.py [--num-crystals 300] [--rounds 3] [--only crystals]

The same crystals are written in every format (prototypes that ship with pymatgen; with
$OMNIMAT_DATA, those of the first rows of MP-20) and read in this process by ``Files`` or ``Table``,
with symmetry and validation, in rounds in which the formats take turns. The share of symmetry is
that of the calls that find the space group by spglib, in the same rounds. The peer of CIF is
pymatgen's reader, with the same symmetry and validation.
"""

import json
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import click
import pandas as pd
from measure import report
from pymatgen.core import Structure
from pymatgen.io.cif import CifParser

import omnimat.sources.files.source
import omnimat.sources.tables.records
from omnimat.formats.cif.reader import crystal_of
from omnimat.materials.crystals import from_pymatgen, symmetry_properties, to_pymatgen
from omnimat.materials.record import Failure
from omnimat.materials.split import SplitSettings
from omnimat.materials.validation import validate
from omnimat.sources.checker import Checker
from omnimat.sources.files.listing import listing
from omnimat.sources.files.source import Files
from omnimat.sources.prototypes import Prototypes
from omnimat.sources.tables.source import Table
from omnimat.testing.crystal_files import CRYSTAL_FILES, Writer
from omnimat.testing.measured_files import MEASURED_FILES

TABLES = {
    "table of CIF, CSV": "csv",
    "table of CIF, Parquet": "parquet",
    "table, JSON lines": "jsonl",
}


@click.command()
@click.option("--num-crystals", default=300, show_default=True)
@click.option("--rounds", default=3, show_default=True)
@click.option(
    "--only", type=click.Choice(["crystals", "measured"]), help="One half of the formats."
)
def main(num_crystals: int, rounds: int, only: str | None) -> None:
    """Print a row for each format: records per CPU second, best and median of the rounds."""
    warnings.simplefilter("ignore")
    for module in (omnimat.sources.files.source, omnimat.sources.tables.records):
        module.symmetry_properties = timed_symmetry  # type: ignore[attr-defined]
    crystals = crystals_of(num_crystals)
    with tempfile.TemporaryDirectory() as folder:
        readers: dict[str, Callable[[], list]] = {}
        if only != "measured":
            readers |= files_of(Path(folder), crystals, CRYSTAL_FILES)
            readers |= tables_of(Path(folder), crystals)
            cifs = list((Path(folder) / "CIF").iterdir())
            readers["CIF by pymatgen"] = lambda: [by_pymatgen(path) for path in cifs]
        if only != "crystals":
            readers |= files_of(Path(folder), crystals, MEASURED_FILES)
        seconds: dict[str, list[float]] = {name: [] for name in readers}
        shares: dict[str, list[float]] = {name: [] for name in readers}
        for number in range(rounds + 1):
            for name, read in readers.items():
                SYMMETRY_S.clear()
                forget_what_was_parsed(Path(folder))
                start = time.process_time()
                found = read()
                spent = time.process_time() - start
                if number:  # the first round imports and compiles
                    seconds[name].append(spent)
                    shares[name].append(sum(SYMMETRY_S) / spent)
                assert len(found) == len(crystals), (name, len(found))
    rows = [
        {
            "format": name,
            "best/s": len(crystals) / min(spent),
            "median/s": len(crystals) / statistics.median(spent),
            "symmetry": statistics.median(shares[name]) or None,
        }
        for name, spent in seconds.items()
    ]
    report(f"records per CPU second, {len(crystals)} crystals", rows, rounds=rounds)


def forget_what_was_parsed(folder: Path) -> None:
    """Let files look changed, since readers keep documents and indices of those that are not."""
    for path in folder.rglob("*"):
        path.touch()


SYMMETRY_S: list[float] = []
"""CPU seconds of each search for a space group since this was cleared."""


def timed_symmetry(crystal: Structure) -> dict[str, object]:
    """Find the symmetry, and note how long it took."""
    start = time.process_time()
    found = symmetry_properties(crystal)
    SYMMETRY_S.append(time.process_time() - start)
    return found


def crystals_of(count: int) -> dict[str, Structure]:
    """Return crystals by ids that are names of files too."""
    data = os.environ.get("OMNIMAT_DATA")
    if data is None:
        items = Prototypes(num_materials=count).read(0, count)
        records = [one for one in items if not isinstance(one, Failure)]
        return {one.material_id: to_pymatgen(one.structure) for one in records}
    rows = pd.read_csv(next(Path(data).rglob("mp20/**/train.csv*")), nrows=count)
    pairs = zip(rows.material_id, rows.cif, strict=True)
    return {name: to_pymatgen(crystal_of(text)[0]) for name, text in pairs}


def files_of(
    folder: Path, crystals: dict[str, Structure], writers: Mapping[str, Writer]
) -> dict[str, Callable[[], list]]:
    """Write the crystals in each format, and return what reads them."""
    readers: dict[str, Callable[[], list]] = {}
    for name, write in writers.items():
        (own := folder / name).mkdir()
        write(own, crystals)
        readers[name] = lambda own=own: accepted(files(own))
    return readers


def tables_of(folder: Path, crystals: dict[str, Structure]) -> dict[str, Callable[[], list]]:
    """Write the crystals as CIFs of a table in each layout, and return what reads them."""
    readers: dict[str, Callable[[], list]] = {}
    for name, ending in TABLES.items():
        path = table(folder / f"table.{ending}", crystals)
        source = Table(path=str(path), id="id", structure={"cif": "cif"})
        readers[name] = lambda source=source: accepted(source.located())
    return readers


def files(folder: Path) -> Files:
    """Return the source of a folder, which lists its files anew."""
    listing.cache_clear()
    return Files(path=str(folder)).located()


def accepted(source: Files | Table) -> list:
    """Read and check all records."""
    checker = Checker(SplitSettings(), ())
    records = list(checker.accepted(source.read(0, source.num_items())))
    assert not checker.failures, checker.failures[:3]
    return records


def by_pymatgen(path: Path) -> dict[str, object]:
    """Read a CIF as the source of CIFs did before it had a reader of its own."""
    (crystal,) = CifParser(str(path)).parse_structures(primitive=False)
    validate(from_pymatgen(crystal))
    return timed_symmetry(crystal)


def table(path: Path, crystals: dict[str, Structure]) -> Path:
    """Write a table of ids and CIFs."""
    rows = [{"id": name, "cif": crystal.to(fmt="cif")} for name, crystal in crystals.items()]
    if path.suffix == ".parquet":
        pd.DataFrame(rows).to_parquet(path)
    elif path.suffix == ".csv":
        pd.DataFrame(rows).to_csv(path, index=False)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


if __name__ == "__main__":
    main()
