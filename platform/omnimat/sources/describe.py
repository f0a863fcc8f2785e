"""Descriptions by robocrystallographer for structures that come without a text.

Ganose and Jain, MRS Communications 9, 874 (2019). It is the copy inside emmet-core, which the
Materials Project runs. Describing a structure takes seconds to minutes and may fail or crash, so it
is done in a child process that the operating system stops at a limit of CPU time.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
import warnings
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from omnimat.base.child import Child, ChildDiedError, LimitError, Limits
from omnimat.base.settings import Settings
from omnimat.materials.crystals import to_pymatgen
from omnimat.materials.record import Record, Structure

if TYPE_CHECKING:
    from pymatgen.core import Structure as PymatgenStructure


class Robocrystallographer(Settings):
    """Settings of rule-based descriptions from bonding and symmetry.

    Attributes:
        type: kind of description; this is the only one so far.
        max_cpu_s: largest CPU time of one description. It is not wall time, so that a busy machine
            describes the same structures as an idle one.
    """

    type: Literal["robocrystallographer"] = "robocrystallographer"
    max_cpu_s: int = Field(default=120, ge=1)


def describe_missing(
    records: Iterable[Record], settings: Robocrystallographer, failures: list[tuple[str, str]]
) -> Iterator[Record]:
    """Yield each record with a text, in order; one that cannot be described stays as it is.

    Args:
        records: records with or without a text; one without a structure is left as it is.
        settings: settings of the descriptions.
        failures: list to which (material id, reason) of each record that stays without a text is
            added.
    """
    limits = Limits(settings.max_cpu_s)
    with Child(_prepare) as child:
        for record in records:
            if "text" in record.parts or record.structure is None:
                yield record
            else:
                yield _described(record, record.structure, child, limits, failures)


def _described(
    record: Record,
    structure: Structure,
    child: Child,
    limits: Limits,
    failures: list[tuple[str, str]],
) -> Record:
    try:
        text = child.call(describe, structure, limits=limits)
    except ChildDiedError as error:
        reason = f"robocrystallographer crashed: {error}"
    except LimitError as error:
        reason = f"robocrystallographer {error}"
    except ValueError as error:
        reason = str(error)
    else:
        generator = f"generated: robocrystallographer of emmet-core {version('emmet-core')}"
        provenance = {**record.provenance, "text": generator}
        return dataclasses.replace(record.with_part("text", text), provenance=provenance)
    failures.append((record.material_id, f"text: {reason}"))
    return record


def describe(structure: Structure) -> str:
    """Describe a structure as the Materials Project does.

    Formulas are written in Unicode, and with charges where these are known.

    Raises:
        ValueError: robocrystallographer cannot describe it; the message says why.
    """
    # emmet.core.featurization itself would use another robocrys where one is installed.
    from emmet.core.featurization.robocrys import StructureCondenser, StructureDescriber

    crystal = _with_oxidation_states(to_pymatgen(structure))
    condenser = StructureCondenser(mineral_matcher=_mineral_matcher())
    try:
        condensed = condenser.condense_structure(crystal)
        describer = StructureDescriber(describe_symmetry_labels=False, fmt="unicode")
        # It prints Miller indices by repr, which otherwise gives "(np.int64(0), np.int64(1), ...".
        with np.printoptions(legacy="1.25"):
            return str(describer.describe(condensed))
    except Exception as error:  # its rules may fail on some crystal with any kind of exception
        raise ValueError(f"robocrystallographer: {type(error).__name__}: {error}") from error


def _with_oxidation_states(crystal: PymatgenStructure) -> PymatgenStructure:
    """Assign charges by bond valence, or else by composition, or else leave atoms neutral."""
    from pymatgen.analysis.bond_valence import BVAnalyzer  # takes 0.4 s to read its tables

    try:
        return BVAnalyzer().get_oxi_state_decorated_structure(crystal)
    except (ValueError, KeyError):  # there is no assignment, or an element has no parameters
        guesses = crystal.composition.oxi_state_guesses(max_sites=-50)
    if guesses:
        crystal.add_oxidation_state_by_element(guesses[0])
    return crystal


@functools.cache
def _mineral_matcher() -> Any:
    """Load the table of known minerals once per process."""
    from emmet.core.featurization.robocrys.condense.mineral import MineralMatcher

    return MineralMatcher()


def _prepare() -> None:
    """Prepare the child process."""
    warnings.simplefilter("ignore")
    # With openbabel, molecules would be looked up at PubChem over the network. Without it, they are
    # named by their formula, which gives the same texts everywhere.
    sys.modules["openbabel"] = None  # type: ignore[assignment]
    # Load this now, so that it does not count towards the time of the first structure.
    _mineral_matcher()
