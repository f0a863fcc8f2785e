"""On which nodes things run: by the labels that nodes were given when they joined the cluster.

A label is preferred, not required: a job file that names those of a cluster runs on a laptop too.
What needs a GPU finds its nodes by that alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ray
from ray._raylet import RAY_NODE_ID_KEY  # type: ignore[attr-defined]


def on_labelled(labels: Mapping[str, str]) -> dict[str, str]:
    """Give the labels where a living node carries them all, else none: then any node serves.

    Nodes that an autoscaler may add are not known by their labels, so a group of labelled nodes
    needs one node to begin with.
    """
    return dict(labels) if any(carries(node, labels) for node in living_nodes()) else {}


def living_nodes() -> list[Mapping[str, Any]]:
    """List the cluster's nodes as Ray describes them, with ``Labels`` and ``Resources``."""
    return [node for node in ray.nodes() if node["Alive"]]


def carries(node: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Say whether a node has all these labels."""
    return bool(labels.items() <= node["Labels"].items())


def near_this_process() -> dict[str, Any]:
    """Give the options of an actor that should run on this node, and elsewhere where it is full."""
    node = {RAY_NODE_ID_KEY: ray.get_runtime_context().get_node_id()}
    return {"label_selector": node, "fallback_strategy": [{"label_selector": {}}]}
