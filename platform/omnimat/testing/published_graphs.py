"""CGCNN and PotNet in their published form, on the weights of ours.

Their convolutions concatenate two atoms and an edge for each directed edge, and PotNet computes the
features of each edge for itself. Ours compute the same sooner: tests compare values and gradients,
and ``jobs/benchmarks/graph_encoders.py`` the time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnimat.modalities.structure.cgcnn_network import GatedConv
from omnimat.modalities.structure.crystal_network import sum_at
from omnimat.modalities.structure.potnet_network import InfiniteEdges, LocalEdges, PotentialConv


def in_published_form(network: nn.Module) -> nn.Module:
    """Let each layer of a CGCNN or PotNet compute its published form; return the network."""
    for module in network.modules():
        if type(module) in _PUBLISHED:
            module.forward = partial(_PUBLISHED[type(module)], module)
    return network


def gated_conv(ours: GatedConv, nodes: Tensor, index: Tensor, edges: Tensor) -> Tensor:
    """Compute one convolution of CGCNN; arguments are those of ``GatedConv.forward``."""
    sources, targets = index
    joint = torch.cat([nodes[targets], nodes[sources], edges], dim=-1)
    gate, core = ours.linear_norm(ours.linear(joint)).chunk(2, dim=-1)
    incoming = sum_at(torch.sigmoid(gate) * F.softplus(core), targets, len(nodes))
    return F.softplus(nodes + ours.norm(incoming))


def potential_conv(
    ours: PotentialConv, nodes: Tensor, index: Tensor, edges: Tensor, features_of: Tensor
) -> Tensor:
    """Compute one convolution of PotNet; arguments are those of ``PotentialConv.forward``."""
    sources, targets = index
    joint = torch.cat([nodes[targets], nodes[sources], edges[features_of]], dim=-1)
    parts = (ours.from_target.weight, ours.from_source.weight, ours.from_edge.weight)
    hidden = F.linear(joint, torch.cat(parts, dim=1), ours.from_target.bias)
    gate, content = F.silu(hidden).chunk(2, dim=-1)
    openness = torch.sigmoid(ours.gate_norm(ours.gate(gate)))
    incoming = sum_at(openness * ours.content(content), targets, len(nodes))
    updated: Tensor = F.relu(nodes + ours.norm(incoming))
    return updated


def local_edges(ours: LocalEdges, edge_vectors_angstrom: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the features of each edge; arguments are those of ``LocalEdges.forward``."""
    lengths_angstrom = torch.linalg.vector_norm(edge_vectors_angstrom, dim=-1)
    return ours.of_lengths(lengths_angstrom), torch.arange(len(lengths_angstrom))


def infinite_edges(ours: InfiniteEdges, potentials: Tensor, pairs: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the features of each ordered pair; see ``InfiniteEdges.forward`` for arguments."""
    totals = ours.totals(potentials).index_select(0, pairs)
    return ours.norm(ours.embedded(totals)), torch.arange(len(pairs))


_PUBLISHED: Mapping[type[nn.Module], Callable[..., Any]] = {
    GatedConv: gated_conv,
    PotentialConv: potential_conv,
    LocalEdges: local_edges,
    InfiniteEdges: infinite_edges,
}
