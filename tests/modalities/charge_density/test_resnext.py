import torch
from torch import nn

from omnimat.modalities.charge_density.resnext import DensityResNeXtSettings


def shifted_difference(padding: str) -> float:
    """Return how much the embedding changes when the origin is shifted by half the cell."""
    encoder = DensityResNeXtSettings(preset="tiny", padding=padding).build(8).double().eval()
    density = torch.rand(1, 64, 64, 64, dtype=torch.float64)
    # All strides together are 32 points, so only a shift by 32 maps the grids onto each other.
    shifted = density.roll(32, dims=2)
    with torch.no_grad():
        difference = encoder({"density": density}) - encoder({"density": shifted})
    return float(difference.abs().max())


def test_circular_padding_sees_no_cell_wall() -> None:
    assert shifted_difference("circular") < 1e-12
    assert shifted_difference("zeros") > 1e-6


def test_the_layout_of_a_gpu_changes_no_number():
    torch.manual_seed(0)
    blocks = DensityResNeXtSettings(preset="tiny").build(8).double().blocks
    blocks = nn.Sequential(*blocks)
    features = torch.randn(2, 8, 6, 6, 6, dtype=torch.float64)
    results = []
    for layout in (torch.contiguous_format, torch.channels_last_3d):
        given = features.contiguous(memory_format=layout).requires_grad_()
        out = blocks(given)
        assert out.is_contiguous(memory_format=layout)
        gradients = torch.autograd.grad(out.square().sum(), [given, *blocks.parameters()])
        results.append((out.detach(), gradients))
    torch.testing.assert_close(*results)
