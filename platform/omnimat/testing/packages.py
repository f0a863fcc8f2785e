"""A packed model without a training: its networks are drawn at random, and tiny."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save as save_tensors

from omnimat import __version__
from omnimat.finetune.codec import ClassIndex, JointCodec, Standardiser
from omnimat.finetune.heads.linear import LinearSettings
from omnimat.finetune.model import PropertyModel
from omnimat.finetune.tasks import TaskSettings
from omnimat.inference.card import Network, PackageCard, Predicted, Predictor, Score, Trained
from omnimat.inference.conformal import Calibration
from omnimat.inference.domain import Domain, Reference
from omnimat.inference.package import REFERENCE, encoder_file, member_file, stored, write
from omnimat.modalities.choices import ModalityChoices
from omnimat.models.export import Card

TARGET = "volume_angstrom3_per_atom"
EMBEDDING_DIM = 8
_CHOICES = {
    "structure": {
        "featurizer": {"lattice_sums": "none"},
        "encoder": {"preset": "tiny", "lattice_sums": False, "hidden_width": 8},
    }
}
_CODECS = (
    Standardiser(mean=20.0, std=5.0, transform="none"),
    Standardiser(mean=(4.0, 5.0, 6.0), std=(1.0, 1.0, 1.0), transform="none"),
    ClassIndex(labels=("cubic", "hexagonal", "triclinic"), most_frequent="cubic"),
)


def write_package(
    path: Path, seeds: Sequence[int] = (0, 1), target: str = TARGET, *, predicts: bool = True
) -> None:
    """Write a package that embeds structures and predicts a number, three numbers and a class.

    Args:
        path: folder or zip to write.
        seeds: of its members.
        target: name of the number.
        predicts: if not, it only embeds.
    """
    choice = ModalityChoices.model_validate(_CHOICES).chosen()["structure"]
    encoder = Card(
        modality="structure",
        encoder=choice.encoder.exported(),
        featurizer=choice.featurizer.model_dump(mode="json"),
        embedding_dim=EMBEDDING_DIM,
        parent_run="none",
        config_hash="none",
        dataset_fingerprint="none",
        samples_seen=0,
    )
    network = Network(
        head=LinearSettings(),
        modalities=("structure",),
        codec=JointCodec(codecs=_CODECS),
        precision="fp32",
        seeds=tuple(seeds),
    )
    if predicts:
        files = {member_file(seed): _member(network, encoder, seed) for seed in seeds}
        files[REFERENCE] = _reference()
    else:
        files = {encoder_file("structure"): _encoder(encoder)}
    card = PackageCard(
        omnimat=__version__,
        name=path.stem,
        files=stored(files),
        encoders={"structure": encoder},
        predictor=_predictor(network, target) if predicts else None,
        trained=(Trained(dataset="none", dataset_fingerprint="none", licences=(), run="none"),),
        config={},
    )
    write(path, card, files)


def _member(network: Network, encoder: Card, seed: int) -> bytes:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = network.head.build(("structure",), EMBEDDING_DIM, network.codec.num_outputs)
        model = PropertyModel({"structure": encoder.build()}, head)
    data: bytes = save_tensors(dict(model.state_dict()))
    return data


def _encoder(card: Card) -> bytes:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        data: bytes = save_tensors(dict(card.build().state_dict()))
    return data


def _reference() -> bytes:
    points = np.random.default_rng(0).normal(size=(50, EMBEDDING_DIM))
    found = Reference.fit(points)
    tensors = {"mean": found.mean, "whitening": found.whitening}
    copied = {key: torch.from_numpy(value.copy()) for key, value in tensors.items()}
    data: bytes = save_tensors(copied)
    return data


def _predictor(network: Network, target: str) -> Predictor:
    tasks = (
        TaskSettings(name="number", target=target),
        TaskSettings(name="cell", target="cell_angstrom", unit="angstrom"),
        TaskSettings(name="system", target="crystal_system", kind="classification"),
    )
    calibration = Calibration(floor=0.5, factor=2.0, coverage=0.9, num_calibration=9)
    predicted = [
        Predicted(
            task=task,
            calibration=calibration if task.target == target else None,
            score=Score(metric=task.metric_name, of_each=(1.0,), of_mean=1.0, num_test=1),
        )
        for task in tasks
    ]
    domain = Domain(elements=("H", "O", "Si"), max_atoms=12, far=3.0, num_materials=50)
    return Predictor(
        network=network, missing_modalities="leave_out", predicted=tuple(predicted), domain=domain
    )
