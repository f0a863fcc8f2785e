"""The card of a packed model: all that is known about it, and what its files must be."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from omnimat.base.precision import Precision
from omnimat.base.registry import OneOf
from omnimat.base.settings import Settings
from omnimat.base.stored_file import StoredFile
from omnimat.finetune.codec import ClassIndex, JointCodec, Standardiser
from omnimat.finetune.heads.head import HEADS, HeadSettings
from omnimat.finetune.settings import MissingModalities
from omnimat.finetune.tasks import LONGEST_NAME, TaskSettings
from omnimat.inference.columns import check_columns
from omnimat.inference.conformal import Calibration
from omnimat.inference.domain import Domain
from omnimat.materials.split import Split
from omnimat.models.export import Card
from omnimat.shards.manifest import Manifest


class Trained(Settings):
    """The data that a model has learned from.

    Attributes:
        dataset: name of the data set.
        dataset_fingerprint: fingerprint of the data set.
        licences: licences of its records; None where they are not known, since the data set was
            gone or another one when the model was packed.
        run: name of the run.
    """

    dataset: str
    dataset_fingerprint: str
    licences: tuple[str, ...] | None
    run: str

    @classmethod
    def of(cls, manifest: Manifest, dataset: str, run: str) -> Self:
        """Describe a data set that is there."""
        fingerprint, licences = manifest.dataset_fingerprint, manifest.licences
        return cls(dataset=dataset, dataset_fingerprint=fingerprint, licences=licences, run=run)


class Seen(Settings):
    """What the weights of a model were shown, in its own training and in all before it.

    Attributes:
        properties: the properties that they were shown, of some materials.
        num_materials: how many formulas, and ids of materials without one, the package lists in
            ``seen.json``; None where nobody knew any more which materials they were.
    """

    properties: tuple[str, ...]
    num_materials: int | None


class SeenMaterials(Settings):
    """The materials that the weights of a model have seen: ``seen.json`` of the package.

    Attributes:
        formulas: their reduced formulas, each once and in order.
        ids: the ids of those of whom no formula is known.
    """

    formulas: tuple[str, ...]
    ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.formulas) + len(self.ids)


class Withheld(Settings):
    """Materials that a data set keeps for judging, of which the weights have seen no formula.

    Attributes:
        dataset: name of the data set.
        dataset_fingerprint: fingerprint of the data set.
        splits: splits of it that were kept from the weights.
        num_formulas: how many reduced formulas these have.
    """

    dataset: str
    dataset_fingerprint: str
    splits: tuple[Split, ...]
    num_formulas: int


class TestedOn(Settings):
    """Another data set than those that a model has learned from, whose test split judged it.

    Attributes:
        dataset: name of the data set.
        dataset_fingerprint: fingerprint of the data set.
    """

    dataset: str
    dataset_fingerprint: str


class Score(Settings):
    """What a task's predictions are worth on the test split.

    Attributes:
        metric: how they are scored.
        of_each: score of each member.
        of_mean: score of the mean over members, which the package predicts.
        num_test: number of test materials.
        coverage: share of the test materials whose interval holds the true value; None without
            intervals.
    """

    metric: str
    of_each: tuple[float, ...] = Field(min_length=1)
    of_mean: float
    num_test: int
    coverage: float | None = None


class Predicted(Settings):
    """A quantity that the model predicts.

    Attributes:
        task: what it is; its target names the column, unit included.
        calibration: how wide its interval is; None for a class, for several numbers, or where too
            few validation materials have it.
        score: what the predictions are worth.
    """

    task: TaskSettings
    calibration: Calibration | None
    score: Score


class Network(Settings):
    """The networks that predict: members that differ in their seed alone.

    Attributes:
        head: what maps embeddings to outputs.
        modalities: the modalities that it takes, in the order of the head.
        codec: maps outputs to the quantities.
        precision: in which the members were trained and predict.
        seeds: the seed of each member.
    """

    head: Annotated[HeadSettings, OneOf(HEADS)]
    modalities: tuple[str, ...] = Field(min_length=1)
    codec: JointCodec
    precision: Precision
    seeds: tuple[int, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _has_each_once(self) -> Self:
        for key in ("modalities", "seeds"):
            if len(set(getattr(self, key))) < len(getattr(self, key)):
                raise ValueError(f"{key}: one of them stands there twice")
        return self


class Predictor(Settings):
    """The part of a model that predicts.

    Attributes:
        network: the networks.
        missing_modalities: whether a material that lacks one of several is left out or fused.
        predicted: the quantities, in the order of the codec.
        domain: what the training materials are like.
    """

    network: Network
    missing_modalities: MissingModalities
    predicted: tuple[Predicted, ...] = Field(min_length=1)
    domain: Domain

    @model_validator(mode="after")
    def _is_one_table(self) -> Self:
        check_columns(one.task for one in self.predicted)
        kinds = [
            "classification" if isinstance(one, ClassIndex) else "regression"
            for one in self.network.codec.codecs
        ]
        if kinds != [one.task.kind for one in self.predicted]:
            raise ValueError("predicted: these are not the quantities of the codec")
        for one in self.network.codec.codecs:
            if isinstance(one, Standardiser) and np.shape(one.mean) != np.shape(one.std):
                raise ValueError("codec: a mean and its deviation are of other numbers of numbers")
        return self


class PackageCard(Settings):
    """``card.json`` of a packed model.

    Attributes:
        format: tells the file from others.
        version: layout of the package.
        omnimat: version of omnimat that wrote it.
        name: name of the model.
        files: every other file of the package, by its path within it.
        encoders: cards of the encoders that embed, by modality; where there are members, these are
            the encoders of the first one.
        predictor: what predicts; None for a model that only embeds.
        trained: all data that its weights have learned from, pretraining first.
        seen: what of this data they were shown; None where an older omnimat packed the model.
        withheld: what other data sets keep for judging, and these weights have not seen.
        tested_on: the data set whose test split gave the scores; None for the one that the weights
            have learned from last.
        about: what its makers say of it, in Markdown.
        config: settings of the run that made it.
    """

    format: Literal["omnimat model"] = "omnimat model"
    version: Literal[1] = 1
    omnimat: str
    name: str = Field(max_length=LONGEST_NAME)
    files: dict[str, StoredFile]
    encoders: dict[str, Card] = Field(min_length=1)
    predictor: Predictor | None = None
    trained: tuple[Trained, ...]
    seen: Seen | None = None
    withheld: tuple[Withheld, ...] = ()
    tested_on: TestedOn | None = None
    about: str = ""
    config: dict[str, Any]

    @model_validator(mode="after")
    def _has_the_encoders(self) -> Self:
        for name, card in self.encoders.items():
            if name != card.modality:
                raise ValueError(f"encoders.{name}: it is one for {card.modality}")
        needed = () if self.predictor is None else self.predictor.network.modalities
        if missing := [name for name in needed if name not in self.encoders]:
            raise ValueError(f"encoders: there is none for {', '.join(missing)}")
        return self
