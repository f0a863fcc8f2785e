"""Cross-modal retrieval: each material of a split found by another of its modalities.

It is counted in three ways, each of them raw (only the material itself is right) and ``merged``
(its duplicates, by a rule of ``evaluation.duplicates``, are right too):

- ``top-k``, ``mean rank``, ``median rank``: among all N materials that have both modalities
  (MultiMat, Fig. 3a). Merged, the nearest of the duplicates counts.
- ``top-k of 1024``: in pools of 1,024 materials, as CLaC counts. They are drawn at random and are
  disjoint; what is left over makes no pool. CLaC's pools are 8 consecutive batches of 128 of its
  test set, whose order is fixed, and its level of chance is that of the whole set; ours is the
  pool's.
- ``1 of T``: the material against T - 1 others drawn at random (T-choose-one of MoleculeSTM, Liu et
  al., Nat. Mach. Intell. 5, 1447, 2023), averaged over all draws exactly. Merged, duplicates are
  never among the others.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import permutations
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator
from rich.console import Console
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.files import write_json
from omnimat.evaluation.duplicates import DUPLICATE_RULES
from omnimat.evaluation.ranks import Counts, Ranks, rank_pairs
from omnimat.evaluation.rerun import rerun_embeddings
from omnimat.evaluation.retrieval_scores import (
    MERGED,
    TOP_K,
    among_others,
    everywhere,
    hits,
    retrieval_table,
)
from omnimat.evaluation.section import EmbeddedSplit, Section, task_and_split
from omnimat.evaluation.stored import (
    StoredEmbeddings,
    check_embedded,
    check_pretraining_seed,
    read_embeddings,
)
from omnimat.leaderboard.finding import Finding
from omnimat.leaderboard.row import Row
from omnimat.materials.split import Split
from omnimat.modalities.registry import MODALITIES, ModalityName
from omnimat.objectives.embeddings import Embeddings
from omnimat.verification.agreement import check_agreement
from omnimat.verification.dataset import CheckedDataset
from omnimat.verification.evidence import Evidence
from omnimat.verification.outcome import FaultError, Remark, UnreachableError, blamed_on
from omnimat.verification.rerun import Sample

if TYPE_CHECKING:
    from torch import Tensor

RETRIEVAL = "retrieval.json"
POOL_TOP_K = (1, 3, 10)  # CLaC's

# A job's output is no terminal, so rich would wrap at 80 characters.
_TABLE_WIDTH = 110
_OF_A_POOL = re.compile(r"top-\d+ of (?P<size>\d+)")
_OF_CHOICES = re.compile(r"1 of (?P<num>\d+)")
# Cosines in float32 differ by 1e-7 between BLAS libraries, so a few of every hundred thousand ranks
# differ.
_RELATIVE_TOLERANCE = 1e-4

Pair = tuple[ModalityName, ModalityName]


class RetrievalSettings(Section):
    """Retrieval for every ordered pair of modalities.

    Attributes:
        pairs: the (query, key) modalities to report; None for all.
        pool_size: how many materials a pool has; None for no pools.
        pool_seed: decides which materials are in a pool.
        num_choices: each T of ``1 of T``; MoleculeSTM has 4, 10 and 20.
    """

    runs_by_default: ClassVar[bool] = True

    pairs: tuple[Pair, ...] | None = Field(default=None, min_length=1)
    pool_size: int | None = Field(default=None, ge=max(POOL_TOP_K))
    pool_seed: int = Field(default=0, ge=0)
    num_choices: tuple[Annotated[int, Field(ge=2)], ...] = ()

    @model_validator(mode="after")
    def _pairs_differ(self) -> Self:
        if any(query == key for query, key in self.pairs or ()):
            raise ValueError("pairs: a modality is not retrieved by itself; remove that pair")
        return self

    def evaluate(self, split: EmbeddedSplit, folder: UPath) -> list[Finding]:
        """Score the pairs, print the scores, and write ``retrieval.json``.

        Raises:
            UserError: if a pair that was asked for, or every pair, has no material.
        """
        findings = self.score(split.embeddings, split.duplicate_groups, split.duplicates)
        report = {
            **self.model_dump(mode="json"),
            "split": split.split,
            "duplicates": split.duplicates,
            "num_records": len(split.positions),
            "retrieval": [asdict(finding) for finding in findings],
        }
        write_json(folder / RETRIEVAL, report)
        self._print(findings)
        return findings

    @classmethod
    def recompute(cls, row: Row, evidence: Evidence) -> Iterator[Remark]:
        """Rank again by the stored embeddings, and check that they are those of the split."""
        task, split = task_and_split(row)
        settings = cls._of_row(row, task)
        stored = read_embeddings(row, evidence)
        key = ("retrieval", row.predictions_uri, settings.fingerprint())
        with blamed_on(f"{row.predictions_uri}: {task!r} cannot be ranked"):
            found = evidence.remembered(
                key, lambda: settings.score(stored.embeddings, stored.groups, "")
            )
        yield from check_agreement(row, found, _RELATIVE_TOLERANCE)
        yield from check_embedded(row, stored, split, evidence)
        yield from _check_groups(row, stored, split, evidence)
        yield from check_pretraining_seed(row, evidence)

    @classmethod
    def rerun(cls, row: Row, evidence: Evidence, sample: Sample) -> Iterator[Remark]:
        """Embed a sample of the split again."""
        yield from rerun_embeddings(row, evidence, sample)

    @classmethod
    def _of_row(cls, row: Row, task: str) -> Self:
        """Give settings under which the row's metric is scored; the metric's name tells most."""
        pair = next(
            (one for one in permutations(MODALITIES.names, 2) if _task_of(one) == task), None
        )
        if pair is None:
            raise FaultError(f"task is {task!r}, which names no two modalities")
        pool, choices = (pattern.match(row.metric) for pattern in (_OF_A_POOL, _OF_CHOICES))
        try:
            return cls(
                pairs=(pair,),
                pool_size=max(int(pool["size"]), *POOL_TOP_K) if pool else None,
                pool_seed=row.config.get("pool_seed", 0),
                num_choices=(max(int(choices["num"]), 2),) if choices else (),
            )
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise FaultError(f"{where} does not fit retrieval: {first['msg']}") from error

    def _print(self, findings: list[Finding]) -> None:
        found = {one.metric for one in findings}
        everywhere = [*(f"top-{k}" for k in TOP_K), "mean rank", "median rank"]
        in_pools = [f"top-{k} of {self.pool_size}" for k in POOL_TOP_K]
        others = [f"1 of {num}" for num in self.num_choices]
        console = Console(width=_TABLE_WIDTH)
        for title, metrics in (
            ("among all", everywhere),
            (f"among all{MERGED}", [f"{name}{MERGED}" for name in everywhere]),
            ("in pools, and against others", [*in_pools, *others]),
        ):
            if known := [metric for metric in metrics if metric in found]:
                console.print(retrieval_table(title, findings, known))
        if self.pool_size is not None and not found.intersection(in_pools):
            console.print(f"no pair has the {self.pool_size} materials of a pool")

    def score(self, embeddings: Embeddings, groups: Counts, rule: str) -> list[Finding]:
        """Score the pairs from what ``embeddings.npz`` holds.

        Args:
            embeddings: the embeddings of N materials.
            groups: (N,) labels, which are equal for duplicates.
            rule: the rule by which these were found.

        Raises:
            UserError: if a pair that was asked for, or every pair, has no material.
        """
        findings: list[Finding] = []
        for pair, both in self._wanted(embeddings).items():
            rows = np.flatnonzero(both.numpy())
            queries, keys = (embeddings.values[modality][rows] for modality in pair)
            findings += self._score_pair(pair, queries, keys, groups[rows], rule)
        return findings

    def _wanted(self, embeddings: Embeddings) -> dict[Pair, Tensor]:
        """Give the pairs to report, and the mask of the materials that have both modalities."""
        present = embeddings.present
        shared = {(one, two): present[one] & present[two] for one, two in permutations(present, 2)}
        shared = {pair: both for pair, both in shared.items() if both.any()}
        wanted = self.pairs or tuple(shared)
        missing = [" -> ".join(pair) for pair in wanted if pair not in shared]
        if missing or not wanted:
            raise UserError(
                "retrieval.pairs: no material of this split that the run can embed has both of "
                f"{', '.join(missing) or 'any pair'}"
            )
        return {pair: shared[pair] for pair in wanted}

    def _score_pair(
        self, pair: Pair, queries: Tensor, keys: Tensor, groups: Counts, rule: str
    ) -> Iterator[Finding]:
        import torch

        device = "cuda" if torch.cuda.is_available() else "cpu"
        queries, keys = queries.to(device), keys.to(device)
        ranks = rank_pairs(queries, keys, groups)
        pools = [
            rank_pairs(queries[rows], keys[rows], groups[rows]) for rows in self._pools(len(keys))
        ]
        task = _task_of(pair)
        for one in (
            *everywhere(ranks.own),
            *self._in_pools([pool.own for pool in pools], len(keys)),
            *among_others(ranks.own, self.num_choices),
        ):
            yield replace(one, task=task)
        for one in (
            *everywhere(ranks.any_duplicate),
            *self._in_pools([pool.any_duplicate for pool in pools], len(keys)),
            *among_others(ranks.own_among_others, self.num_choices),
        ):
            settings = {**one.settings, "duplicates": rule}
            yield replace(one, task=task, metric=one.metric + MERGED, settings=settings)

    def _pools(self, num_materials: int) -> list[NDArray[np.int64]]:
        if self.pool_size is None:
            return []
        order = np.random.default_rng(self.pool_seed).permutation(num_materials)
        firsts = range(0, num_materials - self.pool_size + 1, self.pool_size)
        return [order[first : first + self.pool_size] for first in firsts]

    def _in_pools(self, pools: Sequence[Ranks], num_materials: int) -> Iterator[Finding]:
        if pools:
            ranks = Ranks.concatenated(pools)
            num_left_over = num_materials - len(ranks.nearer)
            for one in hits(ranks, POOL_TOP_K):
                yield replace(
                    one,
                    metric=f"{one.metric} of {self.pool_size}",
                    details={**one.details, "num_pools": len(pools), "left_over": num_left_over},
                    settings={"pool_seed": self.pool_seed},
                )


def _task_of(pair: Pair) -> str:
    return f"retrieval {pair[0]} -> {pair[1]}"


def _check_groups(
    row: Row, stored: StoredEmbeddings, split: Split, evidence: Evidence
) -> Iterator[Remark]:
    """Find duplicates again, where the row counts them."""
    rule = row.config.get("duplicates")
    if rule is None:
        if row.metric.endswith(MERGED):
            raise FaultError(f"metric is {row.metric!r}, but config has no rule of duplicates")
        return
    if rule not in DUPLICATE_RULES:
        raise UnreachableError(f"config.duplicates is {rule!r}, which this omnimat does not know")
    dataset = evidence.dataset(row)
    key = ("duplicates", str(dataset.directory), split, rule)
    properties = evidence.properties(dataset, split)
    labels = evidence.remembered(key, lambda: _groups_of(dataset, split, properties, rule))
    again = [labels.get(one, -1) for one in stored.material_ids]
    # The labels may have other names, as long as the same materials share one.
    pairs = set(zip(again, stored.groups.tolist(), strict=True))
    if len(pairs) != len(set(again)) or len(pairs) != len(set(stored.groups.tolist())):
        yield f"{row.predictions_uri}: duplicate_group is not what the rule {rule!r} finds"


def _groups_of(
    dataset: CheckedDataset, split: Split, properties: Mapping[str, str], rule: Any
) -> dict[str, int]:
    records = dataset.index[dataset.index["split"] == split].reset_index(drop=True)
    known = [json.loads(text) for text in properties.values()]
    groups = DUPLICATE_RULES[rule](records, known, dataset.directory)
    return dict(zip(records["material_id"], groups.tolist(), strict=True))
