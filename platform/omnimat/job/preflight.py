"""Whether the cluster can ever hold a job, asked before it starts: Ray itself waits forever."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from omnimat.base.errors import UserError
from omnimat.cluster.capacity import LARGEST, TOLERANCE, Cluster
from omnimat.cluster.placement import on_labelled
from omnimat.job.asks import Ask

if TYPE_CHECKING:
    from omnimat.job.job import Job


def check_fits(job: Job[Any]) -> None:
    """Refuse a job that the cluster can never hold, even if it grows as far as it may.

    Raises:
        UserError: the sentence names the resource, how much is asked for and how much there is.
    """
    cluster = Cluster.now()
    for asks in job.phases(cluster.count):
        for refusal in _refusals(asks, cluster):
            raise UserError(
                f"{job.name}: {refusal}; ask for less or use a larger cluster (if this one can "
                f"grow, say in ${LARGEST} how large it may become)"
            )


def placement(job: Job[Any]) -> list[str]:
    """Say in lines which processes of a job run at the same time, and where."""
    cluster = Cluster.now()
    lines = [_summary(cluster)]
    for asks in job.phases():
        for ask in asks:
            labels = on_labelled(ask.labels)
            each = ", ".join(f"{amount:g} {name}" for name, amount in ask.each.items())
            lines.append(f"  {ask.who}: {ask.count} x ({each}) on {_nodes(cluster, ask, labels)}")
    return lines


def _refusals(asks: Sequence[Ask], cluster: Cluster) -> Iterator[str]:
    """Say what does not fit on all nodes together, on those with some labels, or on any one."""
    placed = [(ask, on_labelled(ask.labels)) for ask in asks]
    for labels in ({}, *(labels for _, labels in placed if labels)):
        together = [ask for ask, own in placed if not labels or own == labels]
        for resource in dict.fromkeys(name for ask in together for name in ask.each):
            asking = [ask for ask in together if ask.each.get(resource)]
            asked = sum(ask.count * ask.each[resource] for ask in asking)
            there = cluster.amount(resource, labels)
            if asked > there + TOLERANCE:
                keys = " and ".join(ask.key for ask in asking)
                where = f"the nodes labelled {_text(labels)} have" if labels else "the cluster has"
                yield f"{keys} ask for {asked:g} {resource}, {where} {there:g}"
    for ask, labels in placed:
        if not cluster.can_hold(ask.each, labels):
            each = " and ".join(f"{amount:g} {name}" for name, amount in ask.each.items())
            yield f"{ask.key} ask for {each} on one node, and no node has as much"


def _summary(cluster: Cluster) -> str:
    totals = {name: cluster.amount(name, {}) for name in ("CPU", "GPU")}
    amounts = ", ".join(f"{amount:g} {name}" for name, amount in totals.items() if amount)
    grows = " at most" if cluster.largest else ""
    return f"cluster of {_counted(len(cluster.nodes))}, {amounts or 'no CPU'}{grows}"


def _nodes(cluster: Cluster, ask: Ask, labels: Mapping[str, str]) -> str:
    if labels:
        return f"{_counted(len(cluster.labelled(labels)))} labelled {_text(labels)}"
    return "any node" + (f" (none is labelled {_text(ask.labels)})" if ask.labels else "")


def _counted(num_nodes: int) -> str:
    return "1 node" if num_nodes == 1 else f"{num_nodes} nodes"


def _text(labels: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in labels.items())
