"""Cards of packed models as short facts: in a list of models, and of two side by side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

from omnimat.base.errors import UserError
from omnimat.inference.card import PackageCard, Predicted, Trained
from omnimat.inference.columns import column_name
from omnimat.inference.package import CARD, Package
from omnimat.leaderboard.board import rounded


@dataclass(frozen=True, slots=True)
class Found:
    """What may be a packed model.

    Attributes:
        path: where it lies.
        card: its card; None where it cannot be read.
        why: why it cannot be read.
    """

    path: Path
    card: PackageCard | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that the cards of two models say.

    Attributes:
        what: what it is.
        values: what each of the two says; empty where it says nothing.
    """

    what: str
    values: tuple[str, str]

    @property
    def differs(self) -> bool:
        """Whether they say different things."""
        return self.values[0] != self.values[1]


def models_in(folder: Path) -> Iterator[Found]:
    """Find the packed models of a folder, by name: folders with a card, and zips.

    Raises:
        UserError: there is no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; name one that holds packed models")
    for path in sorted(folder.iterdir()):
        if (path / CARD).is_file() or (path.suffix == ".zip" and path.is_file()):
            try:
                yield Found(path, Package(path).card)
            except UserError as error:
                yield Found(path, None, str(error))


def compared(first: PackageCard, second: PackageCard) -> list[Fact]:
    """Lay what two cards say side by side, in the order of the first."""
    both = [facts(first), facts(second)]
    names = dict.fromkeys(name for one in both for name in one)
    return [Fact(name, (both[0].get(name, ""), both[1].get(name, ""))) for name in names]


def facts(card: PackageCard) -> dict[str, str]:
    """Tell in short what a card says."""
    found = {"name": card.name, "made by": f"omnimat {card.omnimat}", "size": size(card)}
    for modality, one in card.encoders.items():
        found[f"encoder of {modality}"] = f"{one.encoder.type}, {one.embedding_dim} wide"
    for place, data in enumerate(card.trained, 1):
        found[f"learned from, {place}"] = _data(data)
    if card.seen is not None and card.seen.num_materials is not None:
        found["materials seen"] = f"{card.seen.num_materials:,}, by formula"
    for kept in card.withheld:
        found[f"not seen of {kept.dataset}, {', '.join(kept.splits)}"] = (
            f"{kept.num_formulas:,} formulas"
        )
    if card.tested_on is not None:
        found["tested on"] = f"{card.tested_on.dataset} ({card.tested_on.dataset_fingerprint})"
    if (predictor := card.predictor) is None:
        return found
    network, domain = predictor.network, predictor.domain
    found["predicts from"] = ", ".join(network.modalities)
    found["networks"] = f"{len(network.seeds)}, head {network.head.type}, {network.precision}"
    found["tuned on"] = (
        f"{domain.num_materials:,} materials, {len(domain.elements)} elements, at most "
        f"{domain.max_atoms} atoms"
    )
    for quantity in predictor.predicted:
        found |= _quantity(quantity)
    return found


def size(card: PackageCard) -> str:
    """Tell how large a package is."""
    return f"{sum(file.size_bytes for file in card.files.values()) / 2**20:.1f} MiB"


def _data(one: Trained) -> str:
    licences = "licences not known" if one.licences is None else ", ".join(one.licences)
    return f"{one.dataset} ({one.dataset_fingerprint}) in {one.run}; {licences or 'no licence'}"


def _quantity(one: Predicted) -> dict[str, str]:
    """Tell what the predictions of a quantity are worth: each network's error with its spread."""
    name, score = column_name(one.task), one.score
    unit = f" {one.task.error_unit}" if one.task.unit else ""
    spread = stdev(score.of_each) if len(score.of_each) > 1 else None
    told = {
        f"{name}: {score.metric} of a network": f"{rounded(fmean(score.of_each), spread)}{unit}",
        f"{name}: {score.metric} of their mean": f"{score.of_mean:.4g}{unit}",
        f"{name}: test materials": f"{score.num_test:,}",
    }
    if one.calibration is not None and score.coverage is not None:
        told[f"{name}: intervals hold"] = (
            f"{score.coverage:.0%}, for {one.calibration.coverage:.0%} wanted"
        )
    return told
