"""The rules that every encoder must follow, as tests that a new encoder's test inherits.

>>> class TestMyEncoder(EncoderConformance):
...     settings = MyEncoderSettings(preset="tiny")
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn
from upath import UPath

from omnimat.materials.record import Record
from omnimat.modalities.encoder import EncoderSettings
from omnimat.modalities.layout import Featurizer
from omnimat.models.export import Card, load, save
from omnimat.nn.checkpointing import checkpoint_layers
from omnimat.testing.materials import (
    Rewrite,
    encoder_arrays,
    example_records,
    featurizer_for,
    modality_of,
    permuted,
    rewritten,
    rotated,
    translated,
)
from omnimat.testing.sent import sent

DIM = 16


class EncoderConformance:
    """Tests shapes, gradients, precision and round trips of an encoder.

    Attributes:
        settings: settings of the encoder, small enough to run in seconds.
        featurizer: featurizer of its inputs; by default the one that ``featurizer_for`` returns.
        projected: whether a projector follows the encoder.
        half_precision_error: largest relative error of a batch's embeddings in bfloat16, which has
            8 significant bits. The default is about twice the error of well-behaved networks.
    """

    settings: ClassVar[EncoderSettings]
    featurizer: ClassVar[Featurizer | None] = None
    projected: ClassVar[bool] = False
    half_precision_error: ClassVar[float] = 0.02

    @pytest.fixture(autouse=True)
    def _seeded(self) -> None:
        torch.manual_seed(0)

    def fitted(self) -> EncoderSettings:
        """Give the settings with what follows from the featurizer."""
        return self.settings.fitted_to(self.chosen_featurizer())

    def build(self) -> nn.Module:
        """Build the encoder with random weights."""
        return self.card().build()

    def settled(self) -> nn.Module:
        """Build it in double precision and evaluation mode, with non-trivial running statistics."""
        encoder = self.build().double()
        encoder(as_double(self.arrays(6)))
        return encoder.eval()

    def chosen_featurizer(self) -> Featurizer:
        """Return the featurizer of the encoder's inputs."""
        return self.featurizer or featurizer_for(self.settings)

    def records(self) -> tuple[Record, ...]:
        """Give twelve records that have what the featurizer needs."""
        return example_records()

    def arrays(self, materials: int | tuple[Record, ...]) -> dict[str, Tensor]:
        """Return the arrays of some records, or of the given number of examples."""
        if isinstance(materials, int):
            materials = self.records()[:materials]
        return encoder_arrays(materials, self.chosen_featurizer())

    @pytest.mark.parametrize("training", [True, False])
    @pytest.mark.parametrize("num_materials", [1, 3])
    def test_one_finite_row_a_material(self, num_materials: int, training: bool) -> None:
        """There is one single-precision row per material, also in training on one material."""
        embeddings = self.build().train(training)(self.arrays(num_materials))
        assert embeddings.shape == (num_materials, DIM)
        assert embeddings.dtype == torch.float32
        assert bool(embeddings.isfinite().all())

    def test_two_materials_are_embedded_like_each_alone(self) -> None:
        """In evaluation mode, a batch of two equals two batches of one."""
        encoder, records = self.settled(), self.records()[:2]
        together = encoder(as_double(self.arrays(records)))
        alone = [encoder(as_double(self.arrays((record,)))) for record in records]
        torch.testing.assert_close(torch.cat(alone), together)

    def test_materials_are_told_apart(self) -> None:
        """Two materials have different embeddings."""
        one, other = self.settled()(as_double(self.arrays(2)))
        assert float((one - other).detach().norm()) > 1e-4 * float(one.detach().norm())

    @pytest.mark.parametrize("training", [True, False])
    def test_an_empty_batch_gives_no_rows_and_zero_gradients(self, training: bool) -> None:
        """Without materials there are no rows, and gradients are zero rather than missing."""
        encoder = self.build().train(training)
        embeddings = encoder(self.arrays(0))
        assert embeddings.shape == (0, DIM)
        embeddings.sum().backward()
        for name, parameter in trainable(encoder).items():
            assert parameter.grad is not None, f"{name} has no gradient"
            assert not parameter.grad.any(), f"{name} has a gradient from nothing"
        assert all(bool(buffer.isfinite().all()) for buffer in encoder.buffers())

    def test_every_parameter_learns(self) -> None:
        """Every parameter gets a gradient."""
        encoder = self.build()
        encoder(self.arrays(6)).square().sum().backward()
        for name, parameter in trainable(encoder).items():
            assert parameter.grad is not None, f"{name} has no gradient"
            assert bool(parameter.grad.any()), f"{name} has a zero gradient"
            assert bool(parameter.grad.isfinite().all()), f"{name} has no finite gradient"

    @pytest.mark.parametrize("num_materials", [0, 6])
    def test_layers_that_are_computed_again_train_alike(self, num_materials: int) -> None:
        """Activation checkpointing changes no bit of gradients, statistics and random numbers."""
        encoder, arrays = self.build(), self.arrays(num_materials)
        again = copy.deepcopy(encoder)
        checkpoint_layers(again)
        assert again.state_dict().keys() == encoder.state_dict().keys()
        found = [trained(one, arrays) for one in (encoder, again)]
        torch.testing.assert_close(*found, rtol=0, atol=0)

    def test_inputs_are_left_alone(self) -> None:
        """The arrays are not written to."""
        arrays = self.arrays(3)
        self.build()(arrays).sum().backward()
        torch.testing.assert_close(arrays, self.arrays(3), rtol=0, atol=0)

    @pytest.mark.parametrize("converted", [False, True], ids=["autocast", "converted"])
    def test_half_precision(self, converted: bool) -> None:
        """The error in bfloat16 is small, both under autocast and for a converted module."""
        encoder, arrays = self.build(), self.arrays(12)
        exact = encoder(arrays).detach()
        if converted:
            encoder.bfloat16()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=not converted):
            rough = encoder(arrays)
        rough.float().sum().backward()
        error = float((rough.detach().float() - exact).norm() / exact.norm())
        assert 0 < error < self.half_precision_error

    @pytest.mark.gpu
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
    @pytest.mark.parametrize("num_materials", [0, 3])
    def test_the_gpu_embeds_in_half_precision(self, num_materials: int) -> None:
        """It also works on a GPU, even with an empty batch."""
        encoder = self.build().cuda()
        arrays = {name: array.cuda() for name, array in self.arrays(num_materials).items()}
        with torch.autocast("cuda", dtype=torch.bfloat16):
            embeddings = encoder(arrays)
        embeddings.float().sum().backward()
        assert embeddings.shape == (num_materials, DIM)
        for name, parameter in trainable(encoder).items():
            assert parameter.grad is not None, f"{name} has no gradient"
            assert bool(parameter.grad.isfinite().all()), f"{name} has no finite gradient"

    def test_a_pickled_encoder_is_the_same(self) -> None:
        """Ray sends encoders between processes."""
        encoder, arrays = self.build().eval(), self.arrays(2)
        twin = sent(encoder)
        torch.testing.assert_close(twin(arrays), encoder(arrays), rtol=0, atol=0)

    def test_what_is_exported_is_loaded(self, tmp_path: Path) -> None:
        """Weights and settings survive the export to safetensors."""
        encoder, arrays = self.build(), self.arrays(2)
        encoder(arrays)  # makes the running statistics differ from those of a new encoder
        card = self.card()
        save(UPath(tmp_path / "export"), encoder, card)
        loaded, loaded_card = load(UPath(tmp_path / "export"))
        assert loaded_card == card
        assert not loaded.training
        torch.testing.assert_close(loaded(arrays), encoder.eval()(arrays), rtol=0, atol=0)

    def card(self) -> Card:
        """Return a card for an export."""
        return Card(
            modality=modality_of(self.settings),
            encoder=self.fitted().exported(),
            featurizer=self.chosen_featurizer().model_dump(mode="json"),
            embedding_dim=DIM,
            projected=self.projected,
            parent_run="conformance",
            config_hash="0123",
            dataset_fingerprint="4567",
            samples_seen=1024,
        )


class CrystalEncoderConformance(EncoderConformance):
    """Further rules for an encoder of crystal graphs.

    Attributes:
        invariant_under: ways to rewrite a crystal that must not change its embedding; add
            ``repeated`` where the encoder averages over atoms.
    """

    invariant_under: ClassVar[tuple[Rewrite, ...]] = (permuted, rotated, translated)

    def test_writing_a_crystal_differently_changes_nothing(self) -> None:
        """The choice of cell, axes, origin and order of atoms has no physical meaning."""
        encoder, records = self.settled(), self.records()[:4]
        expected = encoder(as_double(self.arrays(records)))
        for rewrite in self.invariant_under:
            same = tuple(rewritten(record, rewrite) for record in records)
            given = encoder(as_double(self.arrays(same)))
            error = float((given - expected).detach().norm() / expected.detach().norm())
            # Featurizers round to float32, with errors of about 1e-7, which the layers amplify.
            assert error < 1e-5, f"{rewrite.__name__}: {error:.1e}"

    def test_atoms_may_have_no_neighbours(self) -> None:
        """A crystal without edges has a finite embedding and finite gradients."""
        encoder = self.build()
        none = {"edge_sources": (0,), "edge_targets": (0,), "edge_vectors_angstrom": (0, 3)}
        none["joined_edges"] = (0, 0)
        arrays = self.arrays(2) | {name: torch.zeros(shape) for name, shape in none.items()}
        embeddings = encoder(arrays)
        assert bool(embeddings.isfinite().all())
        embeddings.sum().backward()
        gradients = [p.grad for p in trainable(encoder).values() if p.grad is not None]
        assert all(bool(gradient.isfinite().all()) for gradient in gradients)


def trainable(encoder: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that are not frozen, by name."""
    return {name: p for name, p in encoder.named_parameters() if p.requires_grad}


def as_double(arrays: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the arrays with floating-point values in double precision."""
    return {k: v.double() if v.is_floating_point() else v for k, v in arrays.items()}


def trained(encoder: nn.Module, arrays: Mapping[str, Tensor]) -> tuple[object, ...]:
    """Run both passes; give embeddings, gradients, statistics and the next random numbers."""
    torch.manual_seed(0)
    embeddings = encoder(arrays)
    embeddings.square().sum().backward()
    gradients = {name: parameter.grad for name, parameter in encoder.named_parameters()}
    return embeddings.detach(), gradients, dict(encoder.named_buffers()), torch.rand(3)
