import torch

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
