"""Which materials that judge a model its pretraining has seen, by formula and by structure.

Only materials of one reduced formula are compared by structure, so a data set of 10,000 materials
is held against one of 100,000 in minutes. What was found is kept in the storage, under the
fingerprints of both, where all trials of a sweep and every later job read it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, Self

import pandas as pd
from upath import UPath

from omnimat.base.files import read_file, write_json
from omnimat.base.settings import fingerprint
from omnimat.base.workspace import Workspace
from omnimat.evaluation.structures import are_same, reduced_structures
from omnimat.leaderboard.overlap import PartOverlap
from omnimat.shards.manifest import are_among
from omnimat.training.seen import Materials

if TYPE_CHECKING:
    from pymatgen.core import Structure

MAX_ATOMS = 400  # of a cell; to reduce and compare two such cells takes 0.2 s
MAX_COMPARISONS = 20_000  # within a formula, half a minute
MAX_CANDIDATES = 1000  # of a formula, which are in memory together
REVISION = 1  # of what is kept

_RECORDS_AT_A_TIME = 1000  # whose crystals are in memory, unless one formula has more


@dataclass(frozen=True, slots=True)
class Overlap:
    """The ids of those materials that were seen.

    Attributes:
        same_formula: a material of their reduced formula was seen; where no formula is known, one
            of their id.
        same_structure: of these, those whose crystal was seen.
        not_compared: of these, those of which nobody knows: they or what was seen has no structure,
            cannot be read, has more than ``MAX_ATOMS`` atoms, or has too many polymorphs.
        without_formula: others of which nobody knows, since they have no formula.
    """

    same_formula: frozenset[str] = frozenset()
    same_structure: frozenset[str] = frozenset()
    not_compared: frozenset[str] = frozenset()
    without_formula: frozenset[str] = frozenset()

    def counts(self, material_ids: Collection[str]) -> PartOverlap:
        """Count among the materials of these ids."""
        ids = frozenset(material_ids)
        return PartOverlap(
            num_materials=len(ids),
            same_formula=len(self.same_formula & ids),
            same_structure=len(self.same_structure & ids),
            not_compared=len(self.not_compared & ids),
            without_formula=len(self.without_formula & ids),
        )

    def to_json(self) -> dict[str, Any]:
        """Give it as JSON, with a check of the content."""
        found = {name: sorted(getattr(self, name)) for name in _KEYS}
        return {**found, "check": fingerprint(found)}

    @classmethod
    def from_json(cls, data: bytes) -> Self | None:
        """Read what ``to_json`` gave; None if it was damaged since."""
        try:
            document = json.loads(data)
            found = {name: document[name] for name in _KEYS}
            is_whole = document["check"] == fingerprint(found)
        except (ValueError, KeyError, TypeError):
            return None
        return cls(*(frozenset(found[name]) for name in _KEYS)) if is_whole else None


NOTHING = Overlap()
_KEYS = tuple(field.name for field in fields(Overlap))


def same_formula(judging: Materials, seen: Materials) -> frozenset[str]:
    """Give the ids of those materials of whose formula one was seen; reads no shard."""
    among = are_among(judging.records, seen.records)
    return frozenset(judging.records.loc[among, "material_id"])


def without_formula(materials: Materials) -> frozenset[str]:
    """Give the ids of those materials of which no formula is known."""
    records = materials.records
    return frozenset(records.loc[records["reduced_formula"].isna(), "material_id"])


def kept_overlap(workspace: Workspace, judging: Materials, seen: Materials) -> Overlap:
    """Read from the storage which materials were seen, or find it out and keep it there.

    Raises:
        RunError: the storage does not answer.
    """
    key = fingerprint([REVISION, judging.fingerprint, seen.fingerprint])
    path = workspace.overlap(key)
    try:
        known = Overlap.from_json(read_file(path))
    except FileNotFoundError:
        known = None
    if known is None:
        print(
            f"{judging.dataset.name}: which of {len(judging.records):,} materials are among "
            f"{len(seen.records):,} of {seen.dataset.name}, by formula and structure",
            flush=True,
        )
        known = find_overlap(judging, seen)
        write_json(path, known.to_json())
    return known


def find_overlap(judging: Materials, seen: Materials) -> Overlap:
    """Find out which materials were seen.

    A material of the same data set and id is the same without a look at its structure.

    Raises:
        RunError: the storage does not answer.
    """
    judged = judging.records[are_among(judging.records, seen.records)]
    is_same: dict[str, bool | None] = dict.fromkeys(judged["material_id"])
    if judging.dataset_fingerprint == seen.dataset_fingerprint:
        itself = judged["material_id"].isin(seen.records["material_id"])
        is_same |= dict.fromkeys(judged["material_id"][itself], True)
        judged = judged[~itself]
    for ours, theirs, is_all in _by_formula(replace(judging, records=judged), seen):
        is_same |= _compared(ours, theirs, is_all=is_all)
    return Overlap(
        same_formula=frozenset(is_same),
        same_structure=frozenset(one for one, same in is_same.items() if same),
        not_compared=frozenset(one for one, same in is_same.items() if same is None),
        without_formula=without_formula(judging) - is_same.keys(),
    )


_Crystals = Sequence[tuple[str, "Structure | None"]]
"""Ids and crystals; None for one that cannot be compared."""


def _compared(ours: _Crystals, theirs: _Crystals, *, is_all: bool) -> dict[str, bool | None]:
    """Tell of crystals of one formula whether each is among the others; None if unknown."""
    others = [crystal for _, crystal in theirs if crystal is not None]
    is_all = is_all and len(others) == len(theirs)
    found: dict[str, bool | None] = {}
    for material_id, crystal in ours:
        if crystal is None:
            found[material_id] = None
        else:
            is_same = any(are_same(crystal, other) for other in others)
            found[material_id] = is_same or (False if is_all else None)
    return found


def _by_formula(judging: Materials, seen: Materials) -> Iterator[tuple[_Crystals, _Crystals, bool]]:
    """Read the crystals of each formula that both have, of no more at a time than fit in memory.

    Yields:
        Those of ``judging``, those of ``seen``, and whether the latter are all there are.
    """
    ours, theirs = judging.records, seen.records
    num_ours = ours["reduced_formula"].value_counts()
    theirs = theirs[theirs["reduced_formula"].isin(num_ours.index)]
    limit = (MAX_COMPARISONS // num_ours).clip(lower=1, upper=MAX_CANDIDATES)
    limits = theirs["reduced_formula"].map(limit)
    is_kept = theirs.groupby("reduced_formula").cumcount() < limits
    cut = set(theirs["reduced_formula"][~is_kept])
    theirs = theirs[is_kept]
    num_both = num_ours.add(theirs["reduced_formula"].value_counts(), fill_value=0).sort_index()
    for _, formulas in num_both.groupby((num_both.cumsum() // _RECORDS_AT_A_TIME).to_numpy()):
        read_ours, read_theirs = (
            _crystals(one.dataset, records[records["reduced_formula"].isin(formulas.index)])
            for one, records in ((judging, ours), (seen, theirs))
        )
        for formula in formulas.index:
            yield read_ours[formula], read_theirs[formula], formula not in cut


def _crystals(
    dataset: UPath, records: pd.DataFrame
) -> dict[str, list[tuple[str, Structure | None]]]:
    """Read crystals by their formula."""
    can_be = records["has_structure"] & (records["num_atoms"] <= MAX_ATOMS)
    ordered = pd.concat([records[can_be], records[~can_be]])
    found: dict[str, list[tuple[str, Structure | None]]] = defaultdict(list)
    crystals = chain(reduced_structures(dataset, records[can_be]), repeat(None))
    keys = zip(ordered["reduced_formula"], ordered["material_id"], strict=True)
    for (formula, material_id), crystal in zip(keys, crystals, strict=False):
        found[formula].append((material_id, crystal))
    return found
