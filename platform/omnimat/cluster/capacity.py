"""What a cluster has, and what it may grow to: Ray itself waits forever for what never comes."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omnimat.base.errors import UserError
from omnimat.cluster.placement import carries, living_nodes

LARGEST = "OMNIMAT_LARGEST_CLUSTER"
"""Variable that says what a cluster may grow to, as ``CPU=296,GPU=8``: Ray 2.60 tells no driver
what its autoscaler may add."""
TOLERANCE = 1e-6  # of sums of fractions of a CPU


@dataclass(frozen=True)
class Cluster:
    """What a cluster has, and what it may grow to.

    Attributes:
        nodes: that live, as Ray describes them.
        largest: amount of each resource that an autoscaler may reach; nothing where there is none.
    """

    nodes: Sequence[Mapping[str, Any]]
    largest: Mapping[str, float]

    @classmethod
    def now(cls) -> Cluster:
        """Ask the cluster that this process is connected to.

        Raises:
            UserError: what it may grow to is not said in numbers.
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
        """Say whether some node is large enough for one of these, or one to come may be.

        How large one node to come may be is not known; it is taken to have all that may come.
        """
        nodes = [*(node["Resources"] for node in self.labelled(labels)), self.largest]
        return any(_count(node, each) for node in nodes)

    def count(self, each: Mapping[str, float]) -> int:
        """Count how many of these the living nodes hold at once, were nothing else on them."""
        return sum(_count(node["Resources"], each) for node in self.nodes)


def _count(node: Mapping[str, float], each: Mapping[str, float]) -> int:
    counts = (int((node.get(name, 0.0) + TOLERANCE) // amount) for name, amount in each.items())
    return min(counts, default=sys.maxsize)


def _amounts(text: str) -> dict[str, float]:
    """Read the value of ``LARGEST``.

    Raises:
        UserError: it says no amounts.
    """
    parts = [part.partition("=") for part in text.split(",") if part]
    try:
        return {name.strip(): float(amount) for name, _, amount in parts}
    except ValueError:
        raise UserError(
            f"${LARGEST} is {text!r}; write amounts by resource, as CPU=296,GPU=8"
        ) from None
