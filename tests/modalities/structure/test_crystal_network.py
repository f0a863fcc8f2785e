"""What the networks on crystal graphs share."""

import torch

from omnimat.modalities.structure.crystal_network import fallen_off


def test_what_has_fallen_off_is_zero_before_a_processor_slows_down():
    """Below the smallest normal number, products take far longer."""
    squares = torch.linspace(0, 200, 20_001, requires_grad=True)
    values = fallen_off(squares)
    smallest = torch.finfo(torch.float32).tiny
    assert ((values == 0) | (values > 1e10 * smallest)).all()
    assert (torch.exp(-squares)[values == 0] < 1e-19).all()
    assert torch.equal(values[values > 0], torch.exp(-squares)[values > 0])
    (slopes,) = torch.autograd.grad(values.sum(), squares)
    assert torch.equal(slopes, -values)
    double = squares.detach().double()
    # Beside the largest, which is one, float64 has no more than 16 digits.
    torch.testing.assert_close(fallen_off(double), torch.exp(-double), rtol=0, atol=1e-20)
