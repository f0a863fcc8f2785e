import torch

from omnimat.modalities.structure.cgcnn_network import GatedConv


def test_split_by_atom_and_edge_it_is_the_linear_layer_of_the_paper() -> None:
    torch.manual_seed(0)
    convolution = GatedConv(width=8, edge_width=5).double()
    nodes = torch.randn(6, 8, dtype=torch.float64, requires_grad=True)
    edges = torch.randn(40, 5, dtype=torch.float64)
    sources, targets = torch.randint(0, 6, (2, 40))
    split = convolution._joint(nodes, sources, targets, edges)
    whole = convolution.linear(torch.cat([nodes[targets], nodes[sources], edges], dim=-1))
    torch.testing.assert_close(split, whole)
    parameters = [nodes, convolution.linear.weight, convolution.linear.bias]
    for one, other in zip(
        torch.autograd.grad(split.sin().sum(), parameters),
        torch.autograd.grad(whole.sin().sum(), parameters),
        strict=True,
    ):
        torch.testing.assert_close(one, other)
