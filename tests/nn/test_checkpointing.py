"""That the numbers stay the same, every encoder is tested for by the conformance suite."""

import copy

import pytest
import torch
from torch import Tensor, nn

from omnimat.modalities.registry import all_encoder_classes
from omnimat.modalities.structure.potnet import PotNetSettings
from omnimat.modalities.xrd.cnn import XrdCnnSettings
from omnimat.nn.checkpointing import checkpoint_layers, layers_of
from omnimat.testing.materials import encoder_arrays, example_records, featurizer_for

DEEP = (
    *("potnet", "cgcnn", "gated_graph", "painn", "dimenetpp"),
    *("density_resnext", "xrd_cnn", "dos_transformer", "text_transformer", "huggingface_text"),
)


def kept_bytes(network: nn.Module, arrays: dict[str, Tensor]) -> int:
    """Count the bytes that a forward pass keeps for the backward pass, each memory once."""
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        out = network(arrays)
    del out
    return sum(kept.values())


@pytest.mark.parametrize("name", DEEP)
def test_what_is_deep_has_layers(name: str) -> None:
    every = {one.model_fields["type"].default: one for one in all_encoder_classes()}
    assert [*layers_of(every[name](preset="tiny").build(8))]


def test_little_is_kept() -> None:
    settings = PotNetSettings(preset="tiny", num_convolutions=6)
    arrays = encoder_arrays(example_records(), featurizer_for(settings))
    network = settings.build(8)
    before = kept_bytes(network, arrays)
    checkpoint_layers(network)
    assert kept_bytes(network, arrays) < 0.3 * before


def test_statistics_of_torch_are_tracked_once_too() -> None:
    torch.manual_seed(0)
    network = nn.Module()
    network.layers = nn.ModuleList([nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))])
    checkpoint_layers(network)
    network.layers[0](torch.randn(5, 3)).square().sum().backward()
    assert int(network.layers[0][1].num_batches_tracked) == 1


def test_a_compiled_encoder_is_one_graph_and_computes_the_same() -> None:
    settings = XrdCnnSettings(preset="tiny")
    arrays = encoder_arrays(example_records()[:6], featurizer_for(settings))
    torch.manual_seed(0)
    plain = settings.build(8)
    compiled = copy.deepcopy(plain)
    checkpoint_layers(compiled)
    compiled.compile(backend="aot_eager", fullgraph=True)
    results = []
    for network in (plain, compiled):
        out = network(arrays)
        out.square().sum().backward()
        gradients = [parameter.grad for parameter in network.parameters()]
        results.append((out.detach(), gradients, dict(network.named_buffers())))
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("is_wanted", [True, False])
def test_a_run_decides(is_wanted: bool) -> None:
    from omnimat.training.loop import build_model
    from omnimat.training.settings import PretrainSettings

    graph = {"neighbors": "nearest", "lattice_sums": "none"}
    encoder = {"type": "cgcnn", "preset": "tiny"}
    settings = PretrainSettings.model_validate(
        {
            "dataset": "data",
            "modalities": {"structure": {"featurizer": graph, "encoder": encoder}, "xrd": {}},
            "objective": {"type": "clip"},
            "training": {"activation_checkpointing": is_wanted},
        }
    )
    layers = [*layers_of(build_model(settings))]
    assert len(layers) > 4
    assert all(("forward" in vars(layer)) == is_wanted for layer in layers)
