import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from omnimat.modalities.registry import encoder_classes
from omnimat.modalities.tensors import ModalityTensors
from omnimat.testing.materials import encoder_arrays, example_records, featurizer_for
from omnimat.training.model import Multimodal
from omnimat.training.regressor import Regressor


@dataclass
class Collated:
    rows: np.ndarray
    arrays: dict[str, np.ndarray]


def model(
    *modalities: str,
    learnable_temperature: bool = False,
    num_heads: int = 1,
    regressors: dict[str, Regressor] | None = None,
) -> Multimodal:
    encoders = {m: encoder_classes(m)[0](preset="tiny").build(8) for m in modalities}
    return Multimodal(encoders, 8, 0.2, learnable_temperature, num_heads, regressors)


def tensors(modality: str, rows: list[int]) -> ModalityTensors:
    featurizer = featurizer_for(encoder_classes(modality)[0]())
    arrays = encoder_arrays(example_records()[: len(rows)], featurizer)
    return ModalityTensors(torch.tensor(rows, dtype=torch.int64), arrays)


def test_rows_land_where_they_belong() -> None:
    net = model("text", "structure").eval()
    batch = {
        "structure": tensors("structure", [4, 0, 1]),
        "text": tensors("text", [2, 3]),
    }
    given, _ = net(batch, batch_size=5)
    assert given.present["structure"].tolist() == [True, True, False, False, True]
    assert given.present["text"].tolist() == [False, False, True, True, False]
    for modality, modality_tensors in batch.items():
        values, present = given.values[modality], given.present[modality]
        alone = net.encoders[modality](modality_tensors.arrays)
        torch.testing.assert_close(
            values[modality_tensors.rows], alone / alone.norm(dim=1, keepdim=True)
        )
        torch.testing.assert_close(values.norm(dim=1), present.float())
        assert not values[~present].any()


def test_heads_are_projections_of_one_embedding_and_the_first_is_exported() -> None:
    net = model("text", "composition", num_heads=2).eval()
    batch = {"text": tensors("text", [2, 0]), "composition": tensors("composition", [])}
    given, _ = net(batch, batch_size=3)
    values, encoder = given.values["text"], net.encoders["text"]
    hidden = encoder.encoder(batch["text"].arrays)
    (other,) = net.other_heads["text"]
    assert values.shape == given.values["composition"].shape == (3, 2, 8)
    assert given.present["text"].tolist() == [True, False, True]
    assert not values[1].any()
    first = encoder(batch["text"].arrays)
    torch.testing.assert_close(values[[2, 0], 0], first / first.norm(dim=1, keepdim=True))
    second = other(hidden)
    torch.testing.assert_close(values[[2, 0], 1], second / second.norm(dim=1, keepdim=True))
    assert not torch.allclose(values[:, 0], values[:, 1])


@pytest.mark.parametrize("num_heads", [1, 2])
def test_a_regressor_reads_what_is_exported_before_it_is_normalised(num_heads: int) -> None:
    regressor = Regressor("text", 8, [4], 3)
    net = model("text", "composition", num_heads=num_heads, regressors={"text->xrd": regressor})
    net.eval()
    batch = {"text": tensors("text", [2, 0]), "composition": tensors("composition", [])}
    predicted = net(batch, batch_size=3)[0].predictions
    assert list(predicted) == ["text->xrd"]
    exported = net.encoders["text"](batch["text"].arrays)
    torch.testing.assert_close(predicted["text->xrd"][[2, 0]], regressor(exported))
    assert not predicted["text->xrd"][1].any()


@pytest.mark.parametrize("num_heads", [1, 2])
def test_gradients_reach_every_encoder_even_an_idle_one(num_heads: int) -> None:
    net = model("text", "composition", num_heads=num_heads)
    batch = {
        "text": tensors("text", [1, 2]),
        "composition": tensors("composition", []),
    }
    given, _ = net(batch, batch_size=4)
    direction = torch.randn(8)
    sum((values * direction).sum() for values in given.values.values()).backward()
    for name, parameter in [*net.encoders.named_parameters(), *net.other_heads.named_parameters()]:
        assert parameter.grad is not None, name
        assert bool(parameter.grad.any()) == name.startswith("text"), name


def test_embeddings_are_single_precision_under_autocast() -> None:
    batch = {"text": tensors("text", [0, 1])}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        values = model("text")(batch, batch_size=2)[0].values["text"]
    assert values.dtype == torch.float32
    torch.testing.assert_close(values.norm(dim=1), torch.ones(2))


@pytest.mark.parametrize("learnable", [False, True])
def test_the_temperature(learnable: bool) -> None:
    net = model("text", learnable_temperature=learnable)
    assert net.logit_scale.shape == (1,)
    assert float(net.logit_scale.exp().detach()) == pytest.approx(1 / 0.2)
    assert float(net.logit_scale.detach()) == pytest.approx(-math.log(0.2))
    assert net.logit_scale.requires_grad is learnable


def test_a_model_modality_must_be_in_the_batch() -> None:
    with pytest.raises(KeyError, match="structure"):
        model("text", "structure")({"text": tensors("text", [0])}, batch_size=1)


def test_tensors_wrap_collated_arrays_read_only_ones_included() -> None:
    rows, embedding = np.array([0, 2]), np.ones((2, 3), np.float32)
    embedding.flags.writeable = False
    given = ModalityTensors.from_numpy(Collated(rows, {"embedding": embedding})).to("cpu")
    assert given.rows.tolist() == [0, 2]
    given.arrays["embedding"][0, 0] = 5
    assert embedding[0, 0] == 1
