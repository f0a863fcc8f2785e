"""Encoders that torch compiles compute what they computed before."""

import copy
import shutil

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch._dynamo.testing import CompileCounter

from omnimat.modalities.composition.mlp import CompositionMlpSettings
from omnimat.modalities.dos.transformer import DosTransformerSettings
from omnimat.modalities.registry import MODALITIES, encoder_classes
from omnimat.training.loop import build_model
from omnimat.training.settings import PretrainSettings, TrainingSettings

FIXED = {"density_resnext", "dos_transformer", "xrd_cnn", "composition_mlp"}


def settings(**training) -> PretrainSettings:
    graph = {"neighbors": "nearest", "lattice_sums": "none"}
    return PretrainSettings.model_validate(
        {
            "dataset": "data",
            "modalities": {
                "structure": {"featurizer": graph, "encoder": {"type": "cgcnn", "preset": "tiny"}},
                "dos": {"featurizer": {"num_points": 16}, "encoder": {"preset": "tiny"}},
                "composition": {"encoder": {"preset": "tiny"}},
            },
            "embedding_dim": 8,
            "objective": {"type": "all_pairs_clip"},
            "training": training,
        }
    )


def is_compiled(module: torch.nn.Module) -> bool:
    return module._compiled_call_impl is not None


def test_only_what_has_one_shape_is_compiled():
    compiled, plain = build_model(settings(compile=True)), build_model(settings())
    assert {n for n, e in compiled.encoders.items() if is_compiled(e)} == {"dos", "composition"}
    assert not any(is_compiled(encoder) for encoder in plain.encoders.values())
    assert compiled.state_dict().keys() == plain.state_dict().keys()


def test_who_has_one_shape():
    every = [one for name in MODALITIES.names for one in encoder_classes(name)]
    kinds = {one.model_fields["type"].default for one in every if one.has_fixed_shapes}
    assert kinds == FIXED


def test_divided_weights_are_refused():
    with pytest.raises(ValidationError, match="set zero_stage to 2, or compile to false"):
        TrainingSettings(compile=True, zero_stage=3)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [CompositionMlpSettings, DosTransformerSettings])
def test_no_size_of_a_batch_breaks_the_graph(kind):
    """Nor is it compiled for each size anew: for none, and for one and several."""
    counted = CompileCounter()
    encoder = kind(preset="tiny").build(8)
    encoder.compile(backend=counted, fullgraph=True)
    for size in (6, 3, 5, 0, 1, 4, 0):
        encoder(arrays_of(kind, size)).sum().backward()
    assert counted.frame_count <= 4


def arrays_of(kind, size: int) -> dict[str, torch.Tensor]:
    if kind is CompositionMlpSettings:
        return {"magpie": torch.randn(size, 132)}
    return {"energies_ev": torch.randn(size, 16), "dos_per_ev": torch.rand(size, 16)}


@pytest.mark.soak  # torch compiles for half a minute
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch compiles for a CPU with g++")
def test_it_computes_the_same(tmp_path, monkeypatch):
    """For several sizes of a batch, an empty one among them, in training and in evaluation."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch.manual_seed(0)
    plain = CompositionMlpSettings(preset="tiny").build(8)
    compiled = copy.deepcopy(plain)
    compiled.compile()
    for size in (6, 0):
        arrays = arrays_of(CompositionMlpSettings, size)
        results = []
        for encoder in (plain, compiled):
            encoder.zero_grad()
            out = encoder(arrays)
            out.square().sum().backward()
            gradients = [parameter.grad.clone() for parameter in encoder.parameters()]
            results.append((out.detach(), gradients, dict(encoder.named_buffers())))
        torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)
    assert np.isfinite(compiled.eval()(arrays).detach().numpy()).all()
