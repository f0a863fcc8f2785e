"""Whether the cluster can ever hold a job, asked before it starts: Ray itself waits forever."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omnimat.job.asks import Ask, phases
from omnimat.job.spec import JobHeader
from omnimat.materials.errors import UserError
from omnimat.stream.placement import carries, living_nodes, on_labelled

LARGEST = "OMNIMAT_LARGEST_CLUSTER"
"""Variable that says what a cluster may grow to, as ``CPU=296,GPU=8``: Ray 2.60 tells no driver
what its autoscaler may add."""
_TOLERANCE = 1e-6  # of sums of fractions of a CPU


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

    def can_hold(self, ask: Ask, labels: Mapping[str, str]) -> bool:
        """Say whether some node is large enough for one of these, or one to come may be."""
        nodes = [*(node["Resources"] for node in self.labelled(labels)), self.largest]
        return any(
            all(node.get(name, 0.0) + _TOLERANCE >= amount for name, amount in ask.each.items())
            for node in nodes
        )


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


def check_fits(job: JobHeader) -> None:
    """Refuse a job that the cluster can never hold, autoscaling counted in.

    Raises:
        UserError: naming the resource, what is asked and what there is.
    """
    cluster = Cluster.now()
    for asks in phases(job):
        for refusal in _refusals(asks, cluster):
            raise UserError(
                f"{job.name}: {refusal}; lower them or use a larger cluster (of one that grows, "
                f"${LARGEST} says how large it may be)"
            )


def placement(job: JobHeader) -> list[str]:
    """Say in lines what of a job runs at once, and where."""
    cluster = Cluster.now()
    lines = [_summary(cluster)]
    for asks in phases(job):
        for ask in asks:
            labels = on_labelled(ask.labels)
            each = ", ".join(f"{amount:g} {name}" for name, amount in ask.each.items())
            lines.append(f"  {ask.who}: {ask.count} x ({each}) on {_nodes(cluster, ask, labels)}")
    return lines


def _refusals(asks: Sequence[Ask], cluster: Cluster) -> Iterator[str]:
    """Find what does not fit: on all nodes together, on those with some label, on any one node."""
    placed = [(ask, on_labelled(ask.labels)) for ask in asks]
    for labels in ({}, *(labels for _, labels in placed if labels)):
        together = [ask for ask, own in placed if not labels or own == labels]
        for resource in dict.fromkeys(name for ask in together for name in ask.each):
            asking = [ask for ask in together if ask.each.get(resource)]
            asked = sum(ask.count * ask.each[resource] for ask in asking)
            there = cluster.amount(resource, labels)
            if asked > there + _TOLERANCE:
                keys = " and ".join(ask.key for ask in asking)
                where = f"the nodes labelled {_text(labels)} have" if labels else "the cluster has"
                yield f"{keys} ask for {asked:g} {resource}, {where} {there:g}"
    for ask, labels in placed:
        if not cluster.can_hold(ask, labels):
            each = " and ".join(f"{amount:g} {name}" for name, amount in ask.each.items())
            yield f"{ask.key} ask for {each} on one node, no node has so many"


def _summary(cluster: Cluster) -> str:
    totals = {name: cluster.amount(name, {}) for name in ("CPU", "GPU")}
    amounts = ", ".join(f"{amount:g} {name}" for name, amount in totals.items() if amount)
    grows = " at most" if cluster.largest else ""
    return f"cluster of {len(cluster.nodes)} nodes, {amounts or 'no CPU'}{grows}"


def _nodes(cluster: Cluster, ask: Ask, labels: Mapping[str, str]) -> str:
    if labels:
        return f"{len(cluster.labelled(labels))} nodes labelled {_text(labels)}"
    return "any node" + (f" (none is labelled {_text(ask.labels)})" if ask.labels else "")


def _text(labels: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in labels.items())
