#!/usr/bin/env python
"""From the text of a CIF to an embedding on one core: ours, and CHGNet's graph and forward.

    pip install --target /tmp/chgnet --no-deps chgnet nvidia-ml-py3
    PYTHONPATH=$PYTHONPATH:/tmp/chgnet python jobs/benchmarks/cif_to_embedding.py mp-small [FILE...]

CHGNet's wheel holds its weights. It is no dependency of omnimat, and without it only our figures
are printed. It takes crystals of pymatgen, whose reader is thus its own; how long that takes is
told apart, so that our whole road can be held against CHGNet's graph and forward alone. For an
embedding, CHGNet computes the energy and neither forces nor stresses.

Without files, the embedded prototypes are written as CIFs with all atoms of the cell.
"""

import functools
import os
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import torch
from measure import THREAD_VARIABLES, interleaved, report
from pymatgen.core import Structure
from pymatgen.io.cif import CifParser

from omnimat.inference.features import featurized
from omnimat.inference.model import Model, load
from omnimat.inference.read import read_all
from omnimat.materials.crystals import to_pymatgen
from omnimat.testing.materials import example_records

BATCH = 64  # as ours: omnimat.inference.features.MAX_ROWS
MAX_ATOMS = 40
Steps = Mapping[str, Callable[[], Any]]


def written(count: int, folder: Path) -> list[str]:
    """Write the first prototypes as CIFs."""
    for place, record in enumerate(example_records(count, max_atoms=MAX_ATOMS)):
        to_pymatgen(record.structure).to(str(folder / f"{place:04}.cif"), fmt="cif")
    return sorted(map(str, folder.glob("*.cif")))


def our_steps(model: Model, files: Sequence[str]) -> Steps:
    """Give the whole of ours, and its steps, each on what the step before it gave."""
    modality, networks = model.modalities[0], model.networks
    featurizers = networks.featurizers((modality,))
    given = list(read_all(files))
    names, records = [one.name for one in given], [one.record for one in given]
    features = featurized(names, records, featurizers)
    return {
        "whole": functools.partial(model.embed, files, strict=True, progress=False),
        "reading": lambda: list(read_all(files)),
        "features": functools.partial(featurized, names, records, featurizers),
        "network": functools.partial(networks.embed, features, modality),
    }


def peer_steps(files: Sequence[str]) -> Steps:
    """Give the whole of CHGNet's, and its steps; nothing where it is not installed."""
    try:
        from chgnet.model import CHGNet
    except ImportError:
        return {}
    model = CHGNet.load(use_device="cpu", verbose=False).eval()
    crystals = [read_by_pymatgen(file) for file in files]
    graphs = [model.graph_converter(crystal) for crystal in crystals]

    def embed(graphs: Sequence[Any]) -> None:
        with torch.no_grad():
            model.predict_graph(graphs, task="e", return_crystal_feas=True, batch_size=BATCH)

    def graphs_of(crystals: Sequence[Structure]) -> list[Any]:
        return [model.graph_converter(crystal) for crystal in crystals]

    return {
        "whole": lambda: embed(graphs_of([read_by_pymatgen(file) for file in files])),
        "graph and forward": lambda: embed(graphs_of(crystals)),
        "reading": lambda: [read_by_pymatgen(file) for file in files],
        "features": lambda: graphs_of(crystals),
        "network": lambda: embed(graphs),
    }


def read_by_pymatgen(file: str) -> Structure:
    """Read the crystal of a CIF as it stands there, which is faster than as a primitive cell."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about every coordinate that it rounds
        (crystal,) = CifParser(file).parse_structures(primitive=False)
    return crystal


def rows_of(seconds: Mapping[str, float], count: int) -> list[dict[str, Any]]:
    """Lay out what was measured, the rates of the whole first."""
    rows = []
    for name, one in seconds.items():
        who, _, step = name.partition(": ")
        rows.append(
            {
                "": who,
                "step": step,
                "ms_per_crystal": round(1000 * one / count, 3),
                "crystals_per_s": round(count / one, 1),
                "share_of_whole": round(one / seconds[f"{who}: whole"], 2),
            }
        )
    return rows


@click.command()
@click.argument("model_path", metavar="MODEL")
@click.argument("files", metavar="[FILE...]", nargs=-1, type=click.Path(exists=True))
@click.option("--count", default=256, show_default=True, help="How many prototypes, without files.")
@click.option("--repeats", default=5, show_default=True)
def main(model_path: str, files: tuple[str, ...], count: int, repeats: int) -> None:
    """Embed the crystals of CIFs with MODEL and with CHGNet in turn."""
    if any(os.environ.get(name) != "1" for name in THREAD_VARIABLES):
        raise click.UsageError(f"set {', '.join(THREAD_VARIABLES)} to 1, for the figures of a core")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        paths = list(files) or written(count, Path(folder))
        steps = {
            f"omnimat: {name}": one
            for name, one in our_steps(load(model_path, "cpu"), paths).items()
        }
        steps |= {f"CHGNet: {name}": one for name, one in peer_steps(paths).items()}
        seconds = interleaved(steps, repeats)
    ratios = {
        f"speed / CHGNet, {name}": round(seconds[f"CHGNet: {name}"] / seconds["omnimat: whole"], 2)
        for name in ("whole", "graph and forward")
        if f"CHGNet: {name}" in seconds
    }
    report(
        "text of a CIF to embedding, one core",
        rows_of(seconds, len(paths)),
        model=model_path,
        crystals=len(paths),
        **ratios,
    )
    for name, ratio in ratios.items():
        print(f"{name}: {ratio}")


if __name__ == "__main__":
    main()
