"""Robocrystallographer's descriptions for structures that come without one.

Ganose and Jain, MRS Communications 9, 874 (2019); its copy inside emmet-core is used, which the
Materials Project runs. A structure takes seconds to minutes and may fail or crash, so descriptions
are made in a child process that the operating system stops at its share of CPU time.
"""

from __future__ import annotations

import dataclasses
import functools
import multiprocessing
import resource
import sys
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib.metadata import version
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field
from pymatgen.core import Structure as PymatgenStructure

from omnimat.base.settings import Settings
from omnimat.materials.crystals import to_pymatgen
from omnimat.materials.record import Record, Structure


class Robocrystallographer(Settings):
    """Describe structures without text by rules, from bonding and symmetry.

    Attributes:
        type: the only way so far.
        max_cpu_s: CPU time of one description. CPU time, not time on the clock, so that a busy
            machine leaves out no text that an idle one gives.
    """

    type: Literal["robocrystallographer"] = "robocrystallographer"
    max_cpu_s: int = Field(default=120, ge=1)


def describe_missing(
    records: Iterable[Record], settings: Robocrystallographer, failures: list[tuple[str, str]]
) -> Iterator[Record]:
    """Give each record with a text, in order; one that gets none passes as it is.

    Args:
        records: with or without text; one without a structure is left as it is.
        settings: of the descriptions.
        failures: takes (material id, reason) of the records that stay without text.
    """
    with _Child(settings.max_cpu_s) as child:
        for record in records:
            if "text" in record.parts or record.structure is None:
                yield record
            else:
                yield _described(record, record.structure, child, failures)


def _described(
    record: Record, structure: Structure, child: _Child, failures: list[tuple[str, str]]
) -> Record:
    try:
        text = child.describe(structure)
    except ValueError as error:
        failures.append((record.material_id, f"text: {error}"))
        return record
    generator = f"generated: robocrystallographer of emmet-core {version('emmet-core')}"
    provenance = {**record.provenance, "text": generator}
    return dataclasses.replace(record.with_part("text", text), provenance=provenance)


class _Child:
    """A process that describes one structure after another; started when first needed."""

    def __init__(self, max_cpu_s: int) -> None:
        self._max_cpu_s = max_cpu_s
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def describe(self, structure: Structure) -> str:
        """Describe a structure; ValueError says why that cannot be done."""
        if self._pool is None:
            # Spawned: a fork of a process with Ray's threads may hang.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(1, context, initializer=_prepare)
        try:
            return self._pool.submit(_describe_within, structure, self._max_cpu_s).result()
        except BrokenProcessPool as error:
            self._stop()
            raise ValueError(
                f"robocrystallographer took more than {self._max_cpu_s} s of CPU time, or crashed"
            ) from error

    def _stop(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None


def describe(structure: Structure) -> str:
    """Describe a structure as the Materials Project does: Unicode formulas, charges where known.

    Raises:
        ValueError: robocrystallographer cannot describe it; the message says what it met.
    """
    # Not emmet.core.featurization: that takes whatever robocrys is installed instead.
    from emmet.core.featurization.robocrys import StructureCondenser, StructureDescriber

    crystal = _with_oxidation_states(to_pymatgen(structure))
    condenser = StructureCondenser(mineral_matcher=_mineral_matcher())
    try:
        condensed = condenser.condense_structure(crystal)
        describer = StructureDescriber(describe_symmetry_labels=False, fmt="unicode")
        # It prints Miller indices as Python does: without this, "(np.int64(0), np.int64(1), ...".
        with np.printoptions(legacy="1.25"):
            return str(describer.describe(condensed))
    except Exception as error:  # rules over any crystal: what they stumble on cannot be listed
        raise ValueError(f"robocrystallographer: {type(error).__name__}: {error}") from error


def _with_oxidation_states(crystal: PymatgenStructure) -> PymatgenStructure:
    """Assign charges by bond valence, else by composition, else leave the atoms neutral."""
    from pymatgen.analysis.bond_valence import BVAnalyzer  # reads its tables for 0.4 s

    try:
        return BVAnalyzer().get_oxi_state_decorated_structure(crystal)
    except (ValueError, KeyError):  # no assignment, an element without parameters
        guesses = crystal.composition.oxi_state_guesses(max_sites=-50)
    if guesses:
        crystal.add_oxidation_state_by_element(guesses[0])
    return crystal


@functools.cache
def _mineral_matcher() -> Any:
    """Load the table of known minerals once in a process."""
    from emmet.core.featurization.robocrys.condense.mineral import MineralMatcher

    return MineralMatcher()


def _prepare() -> None:
    """Ready the child process."""
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # being stopped leaves no core file
    # With openbabel, molecules would be looked up at PubChem over the network; without, they go
    # by their formula, everywhere alike.
    sys.modules["openbabel"] = None  # type: ignore[assignment]
    # What is loaded once does not count as the time of the first structure.
    _mineral_matcher()


def _describe_within(structure: Structure, max_cpu_s: int) -> str:
    """Describe a structure in this process, which dies when that takes too long."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit_s = int(used.ru_utime + used.ru_stime) + 1 + max_cpu_s
    resource.setrlimit(resource.RLIMIT_CPU, (limit_s, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    return describe(structure)
