"""What every encoder owes its callers."""

import pickle

import pytest
import torch
from torch import nn

from omnimat.encoders.registry import DEFAULT_ENCODERS
from omnimat.materials.record import MODALITIES

PUBLISHED_PARAMETERS = {
    "structure": 1_718_656,
    "dos": 1_611_392,
    "charge_density": 26_084_032,
    "text": 722_048,
}
# About twice the largest relative error of the embeddings under bfloat16 (8 significant bits) seen
# over ten seeds: 0.067 through the 13 normalised convolutions in a row of the density network,
# whose last ones are normalised over 12 values; 0.010 (xrd) at most elsewhere.
HALF_PRECISION_ERROR = dict.fromkeys(MODALITIES, 0.02) | {"charge_density": 0.14}

every_encoder = pytest.mark.parametrize("modality", MODALITIES)


def build(modality: str, preset: str = "tiny", embedding_dim: int = 16) -> nn.Module:
    return type(DEFAULT_ENCODERS[modality])(preset=preset).build(embedding_dim)


@pytest.mark.parametrize(("modality", "count"), PUBLISHED_PARAMETERS.items())
def test_the_paper_preset_has_the_published_size(modality: str, count: int) -> None:
    with torch.device("meta"):
        encoder = DEFAULT_ENCODERS[modality].build(128)
    assert sum(parameter.numel() for parameter in encoder.parameters()) == count


@every_encoder
def test_two_materials_are_embedded_like_each_alone(modality: str, make_arrays) -> None:
    encoder = build(modality).double()
    both = double(make_arrays(modality, [4, 3]))
    encoder(both)  # moves the running statistics from their trivial start
    encoder.eval()
    together = encoder(both)
    assert together.shape == (2, 16)
    for row, alone in enumerate(split(modality, both)):
        torch.testing.assert_close(encoder(alone)[0], together[row])


@every_encoder
@pytest.mark.parametrize("training", [True, False])
def test_an_empty_batch_gives_no_rows_and_zero_gradients(
    modality: str, training: bool, make_arrays
) -> None:
    encoder = build(modality).train(training)
    embeddings = encoder(make_arrays(modality, []))
    assert embeddings.shape == (0, 16)
    embeddings.sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert not parameter.grad.any(), name
    assert all(bool(buffer.isfinite().all()) for buffer in encoder.buffers())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@every_encoder
@pytest.mark.parametrize("sizes", [[], [4, 3]])
def test_the_gpu_embeds_in_half_precision(modality: str, sizes: list[int], make_arrays) -> None:
    encoder = build(modality).cuda()
    arrays = {name: array.cuda() for name, array in make_arrays(modality, sizes).items()}
    with torch.autocast("cuda", dtype=torch.bfloat16):
        embeddings = encoder(arrays)
    embeddings.float().sum().backward()
    assert embeddings.shape == (len(sizes), 16)
    assert all(bool(parameter.grad.isfinite().all()) for parameter in encoder.parameters())


@every_encoder
def test_every_parameter_learns(modality: str, make_arrays) -> None:
    encoder = build(modality)
    encoder(make_arrays(modality, [4, 3, 5])).square().sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.any()), name


@every_encoder
def test_inputs_are_left_alone(modality: str, make_arrays) -> None:
    arrays = make_arrays(modality, [4, 3])
    build(modality)(arrays).sum().backward()
    torch.testing.assert_close(arrays, make_arrays(modality, [4, 3]), rtol=0, atol=0)


@every_encoder
def test_one_material_can_be_trained_on(modality: str, make_arrays) -> None:
    assert bool(build(modality)(make_arrays(modality, [1])).isfinite().all())


@every_encoder
def test_a_pickled_encoder_is_the_same(modality: str, make_arrays) -> None:
    encoder = build(modality).eval()
    twin = pickle.loads(pickle.dumps(encoder))  # noqa: S301  # our own bytes
    arrays = make_arrays(modality, [4, 3])
    torch.testing.assert_close(twin(arrays), encoder(arrays), rtol=0, atol=0)


@every_encoder
@pytest.mark.parametrize("converted", [False, True], ids=["autocast", "converted"])
def test_half_precision(modality: str, converted: bool, make_arrays) -> None:
    encoder = build(modality)
    arrays = make_arrays(modality, [6] * 12)
    exact = encoder(arrays).detach()
    if converted:
        encoder.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=not converted):
        rough = encoder(arrays)
    rough.float().sum().backward()
    error = (rough.detach().float() - exact).norm() / exact.norm()
    assert 0 < float(error) < HALF_PRECISION_ERROR[modality]


def double(arrays: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {k: v.double() if v.is_floating_point() else v for k, v in arrays.items()}


def split(modality: str, arrays: dict[str, torch.Tensor]) -> list[dict[str, torch.Tensor]]:
    """Undo the collation of two materials."""
    if modality != "structure":
        return [{k: v[row : row + 1] for k, v in arrays.items()} for row in range(2)]
    first, _ = arrays["num_atoms"].tolist()
    counts = {"edge": arrays["num_edges"], "pair": arrays["num_pairs"], "atom": arrays["num_atoms"]}
    parts = [
        {
            k: v.split(counts[k.split("_")[0].replace("atomic", "atom")].tolist())[row]
            for k, v in arrays.items()
            if not k.startswith("num_")
        }
        | {k: arrays[k][row : row + 1] for k in ("num_atoms", "num_edges", "num_pairs")}
        for row in range(2)
    ]
    for name in ("edge_sources", "edge_targets"):
        parts[1][name] = parts[1][name] - first
    return parts
