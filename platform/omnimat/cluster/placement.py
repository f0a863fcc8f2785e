"""On which nodes processes run, by the labels that nodes were given when they joined the cluster.

A label is a preference: a job file that names labels of a cluster also runs on a laptop. Processes
that need a GPU are placed by that need anyway.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ray
from ray._raylet import RAY_NODE_ID_KEY  # type: ignore[attr-defined]


def on_labelled(labels: Mapping[str, str]) -> dict[str, str]:
    """Give the labels if some living node carries them all, or none, so that any node will do.

    The labels of nodes that an autoscaler may add are not known. A group of labelled nodes
    therefore needs one node from the start.
    """
    return dict(labels) if any(carries(node, labels) for node in living_nodes()) else {}


def living_nodes() -> list[Mapping[str, Any]]:
    """List the living nodes as Ray describes them, with ``Labels`` and ``Resources``."""
    return [node for node in ray.nodes() if node["Alive"]]


def carries(node: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Say whether a node has all these labels."""
    return bool(labels.items() <= node["Labels"].items())


def near_this_process() -> dict[str, Any]:
    """Give the options of an actor that runs on this node, or elsewhere if this one is full."""
    node = {RAY_NODE_ID_KEY: ray.get_runtime_context().get_node_id()}
    return {"label_selector": node, "fallback_strategy": [{"label_selector": {}}]}
