"""Float32 where it is promised, and faster products where they are asked for."""

import pytest
import torch
from torch import nn

from omnimat.evaluation.ranks import rank_pairs
from omnimat.nn.precision import (
    SinglePrecisionLinear,
    exact_products,
    fast_products,
    single_precision,
    warn_of_emulation,
)

CPU = torch.device("cpu")


def allowed() -> tuple[str, bool]:
    return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32


def rounded(values: torch.Tensor) -> torch.Tensor:
    return values.bfloat16().float()


def test_products_of_matrices_and_convolutions_are_allowed_together_and_then_as_before():
    before = allowed()
    with fast_products():
        assert allowed() == ("medium", True)
        with exact_products():
            assert allowed() == ("highest", False)
        assert allowed() == ("medium", True)
    assert allowed() == before


def test_what_was_allowed_before_comes_back_after_an_error():
    before = allowed()
    with pytest.raises(ZeroDivisionError), exact_products():
        1 / 0  # noqa: B018
    assert allowed() == before


def test_raw_quantities_are_never_rounded():
    """Where the processor multiplies in bfloat16, a linear layer of torch is rounded here."""
    torch.manual_seed(0)
    layer = SinglePrecisionLinear(64, 64)
    plain = nn.Linear(64, 64)
    plain.load_state_dict(layer.state_dict())
    energies = torch.randn(256, 64) - 45.3
    exact = layer(energies)
    with fast_products(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(energies).dtype == torch.float32
        torch.testing.assert_close(layer(energies), exact, rtol=0, atol=0)
        assert not torch.equal(plain(energies).float(), exact)


def test_single_precision_holds_inside_autocast():
    left, right = torch.randn(2, 128, 128).unbind()
    exact = left @ right
    with fast_products(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert (left @ right).dtype == torch.bfloat16
        with single_precision(CPU):
            torch.testing.assert_close(left @ right, exact, rtol=0, atol=0)


def test_ranks_do_not_depend_on_what_products_may_be():
    """Some keys are about as near as a query's own, so that rounding changes their order."""
    generator = torch.Generator().manual_seed(0)
    keys, noise = torch.randn(2, 1024, 64, generator=generator).unbind()
    queries = keys + 4 * noise
    groups = torch.arange(1024).numpy() // 2
    exact = rank_pairs(queries, keys, groups)
    with fast_products():
        fast = rank_pairs(queries, keys, groups)
    for name in ("own", "any_duplicate", "own_among_others"):
        ours, theirs = getattr(fast, name), getattr(exact, name)
        assert ours.nearer.tolist() == theirs.nearer.tolist()
        assert ours.as_near.tolist() == theirs.as_near.tolist()
    blurred = rank_pairs(rounded(queries), rounded(keys), groups)
    assert blurred.own.nearer.tolist() != exact.own.nearer.tolist()


AMD_ZEN_2 = {"architecture": "x86_64", "avx512_bf16": False, "amx_bf16": False}


@pytest.mark.parametrize(
    ("precision", "device", "changes", "is_told"),
    [
        ("bf16", "cpu", {}, True),
        ("bf16", "cpu", {"avx512_bf16": True}, False),
        ("bf16", "cpu", {"architecture": "aarch64"}, False),  # of which nothing is known
        ("bf16", "cuda", {}, False),
        ("fast_fp32", "cpu", {}, False),
    ],
)
def test_emulated_bfloat16_is_told(monkeypatch, capsys, precision, device, changes, is_told):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: AMD_ZEN_2 | changes)
    warn_of_emulation(precision, torch.device(device))
    assert ("no instructions for bfloat16" in capsys.readouterr().out) == is_told


def test_this_processor_is_told_by_its_own_instructions(capsys):
    can = torch.cpu.get_capabilities()
    warn_of_emulation("bf16", CPU)
    is_emulated = can["architecture"] == "x86_64" and not (can["avx512_bf16"] or can["amx_bf16"])
    assert ("no instructions" in capsys.readouterr().out) == is_emulated
