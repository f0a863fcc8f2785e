"""Whether the cluster can ever hold a job, asked before it starts: Ray itself waits forever."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from omnimat.base.errors import UserError
from omnimat.cluster.capacity import LARGEST, TOLERANCE, Cluster
from omnimat.cluster.placement import on_labelled
from omnimat.job.asks import Ask, phases
from omnimat.job.spec import JobHeader, PretrainJob


def check_fits(job: JobHeader) -> None:
    """Refuse a job that the cluster can never hold, autoscaling counted in.

    Raises:
        UserError: naming the resource, what is asked and what there is.
    """
    cluster = Cluster.now()
    for asks in phases(job, _num_started(job, cluster)):
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


def _num_started(job: JobHeader, cluster: Cluster) -> int | None:
    """Count the workers of a pretrain job that Ray starts first: as many as fit by themselves.

    Of a run that may have fewer it takes all there is room for, and leaves none for featurizers.
    """
    if not isinstance(job, PretrainJob):
        return None
    fewest, most = job.training.world_sizes[0], job.training.world_sizes[-1]
    return min(max(fewest, cluster.count(job.training.worker_resources)), most)


def _refusals(asks: Sequence[Ask], cluster: Cluster) -> Iterator[str]:
    """Find what does not fit: on all nodes together, on those with some label, on any one node."""
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
