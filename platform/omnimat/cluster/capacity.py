"""What a cluster has and may grow to; Ray itself would wait forever for what never comes."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omnimat.base.errors import UserError
from omnimat.cluster.placement import carries, living_nodes

LARGEST = "OMNIMAT_LARGEST_CLUSTER"
"""Environment variable that says what a cluster may grow to, as in ``CPU=296,GPU=8``. Ray 2.60 does
not tell drivers what its autoscaler may add."""
TOLERANCE = 1e-6  # for sums of fractions of a CPU


@dataclass(frozen=True)
class Cluster:
    """What a cluster has, and what it may grow to.

    Attributes:
        nodes: the living nodes, as Ray describes them.
        largest: the amount of each resource that an autoscaler may reach; empty without one.
    """

    nodes: Sequence[Mapping[str, Any]]
    largest: Mapping[str, float]

    @classmethod
    def now(cls) -> Cluster:
        """Ask the cluster that this process is connected to.

        Raises:
            UserError: the variable that says what it may grow to holds no amounts.
        """
        return cls(living_nodes(), _amounts(os.environ.get(LARGEST, "")))

    def amount(self, resource: str, labels: Mapping[str, str]) -> float:
        """Give how much there is, or may be, on nodes with these labels."""
        there = sum(node["Resources"].get(resource, 0.0) for node in self.labelled(labels))
        return float(max(there, self.largest.get(resource, 0.0)))

    def labelled(self, labels: Mapping[str, str]) -> list[Mapping[str, Any]]:
        """Give the living nodes that carry all these labels."""
        return [node for node in self.nodes if carries(node, labels)]

    def can_hold(self, each: Mapping[str, float], labels: Mapping[str, str]) -> bool:
        """Say whether some node can hold one process that takes this much, or a future node might.

        How large a future node is, is not known. It is taken to have all that may be added.
        """
        nodes = [*(node["Resources"] for node in self.labelled(labels)), self.largest]
        return any(_count(node, each) for node in nodes)

    def count(self, each: Mapping[str, float]) -> int:
        """Count how many such processes the living nodes could hold if they held nothing else."""
        return sum(_count(node["Resources"], each) for node in self.nodes)


def _count(node: Mapping[str, float], each: Mapping[str, float]) -> int:
    counts = (int((node.get(name, 0.0) + TOLERANCE) // amount) for name, amount in each.items())
    return min(counts, default=sys.maxsize)


def _amounts(text: str) -> dict[str, float]:
    """Read the value of ``LARGEST``.

    Raises:
        UserError: it holds no amounts.
    """
    parts = [part.partition("=") for part in text.split(",") if part]
    try:
        return {name.strip(): float(amount) for name, _, amount in parts}
    except ValueError:
        raise UserError(
            f"${LARGEST} is {text!r}; write amounts by resource, as CPU=296,GPU=8"
        ) from None
