"""Zero-shot classification: a material takes the label whose sentences lie nearest to it.

As CLIP does with images (Radford et al., ICML 2021): the run's own text encoder embeds the
sentences of each label, the unit embeddings are averaged and made unit length again, and the
material's embedding, of its structure or another modality, takes the label of the largest cosine.
Nothing is trained on labels, so the sentences are part of the result.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.files import write_atomically, write_json
from omnimat.base.settings import Settings
from omnimat.evaluation.rerun import rerun_labels
from omnimat.evaluation.section import EmbeddedSplit, Section, task_and_split
from omnimat.evaluation.stored import check_pretraining_seed, featurizers_of_run
from omnimat.leaderboard.finding import Finding
from omnimat.leaderboard.metrics import accuracy, balanced_accuracy, per_class_accuracy
from omnimat.leaderboard.row import Row
from omnimat.materials.record import Record
from omnimat.materials.targets import Targets, Threshold
from omnimat.modalities.registry import ModalityName
from omnimat.modalities.text.embedding import TextEmbedding
from omnimat.verification.agreement import check_agreement
from omnimat.verification.evidence import Evidence
from omnimat.verification.left_out import check_left_out
from omnimat.verification.outcome import FaultError, Remark, UnreachableError, blamed_on, named
from omnimat.verification.rerun import Sample
from omnimat.verification.tables import check_materials, check_targets, read_table, unscored

if TYPE_CHECKING:
    from torch import Tensor

    from omnimat.models.embed import ExportedEncoder

ZERO_SHOT = "zero_shot.json"

_KEY = "zero_shot"  # of a row's configuration

Labels = NDArray[np.str_]


class PromptTask(Settings):
    """One property that sentences are to tell.

    Attributes:
        name: the name of the task, in words.
        target: the name of the property that holds the truth.
        threshold: makes labels of a number; without it the property itself is the label.
        prompts: the sentences of each label.
        modality: the modality whose embeddings are sorted.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 _\-]*$")
    target: str
    threshold: Threshold | None = None
    prompts: Mapping[str, tuple[str, ...]] = Field(min_length=2)
    modality: ModalityName = "structure"

    @model_validator(mode="after")
    def _labels_have_sentences(self) -> Self:
        if empty := [label for label, sentences in self.prompts.items() if not sentences]:
            raise ValueError(f"prompts: {', '.join(empty)} has no sentence")
        threshold = self.threshold
        if threshold and {threshold.below, threshold.above} != set(self.prompts):
            raise ValueError("prompts: their labels must be threshold.below and .above")
        if self.modality == "text":
            raise ValueError("modality: text is what the sentences are; name another")
        return self

    @property
    def task(self) -> str:
        """Its name on the leaderboard."""
        return f"zero-shot {self.name} of {self.modality}"

    @property
    def file(self) -> str:
        """The name of the file with its predictions."""
        return f"zero_shot-{self.name.replace(' ', '_')}.parquet"

    def truth(self, properties: Mapping[str, Any]) -> str | None:
        """Label a material; None where its property is not known or is none of the labels."""
        value = properties.get(self.target)
        if value is None:
            return None
        label = str(value) if self.threshold is None else self.threshold.label(float(value))
        return label if label in self.prompts else None


class ZeroShotSettings(Section):
    """Materials sorted by sentences.

    Attributes:
        tasks: what they are sorted by; each task has a name of its own.
    """

    tasks: tuple[PromptTask, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        if len({task.file for task in self.tasks}) < len(self.tasks):
            raise ValueError("tasks: two have the same name")
        return self

    def judged_by(self, modalities: Collection[str]) -> dict[str, frozenset[str]]:
        """Each task judges its modality by its target."""
        del modalities
        return {
            one.modality: frozenset(
                task.target for task in self.tasks if task.modality == one.modality
            )
            for one in self.tasks
        }

    def evaluate(self, split: EmbeddedSplit, folder: UPath) -> list[Finding]:
        """Sort the materials by each task; write the predictions and ``zero_shot.json``.

        Raises:
            UserError: if the run cannot embed a sentence or lacks the modality, or no material of
                the split has the property.
        """
        import torch

        if "text" not in split.embedder.cards:
            raise UserError("zero_shot: the run has no encoder of text, so no sentence can be read")
        encoder = split.embedder.encoder("text")
        findings = []
        for task in self.tasks:
            rows, truth = _labelled(split, task)
            labels = np.array(list(task.prompts), dtype=np.str_)
            prompts = torch.stack([prompt_embedding(encoder, s) for s in task.prompts.values()])
            chosen = (split.embeddings.values[task.modality][rows] @ prompts.T).argmax(1)
            columns = {"target": truth, "prediction": labels[chosen.numpy()], "split": split.split}
            table = pd.DataFrame({"material_id": split.material_ids[rows], **columns})
            write_atomically(folder / task.file, table.to_parquet(index=False))
            findings += _scores(task, table, len(split.positions))
        report = {
            **self.model_dump(mode="json"),
            "split": split.split,
            "findings": [
                {"task": one.task, "metric": one.metric, "value": one.value, **one.details}
                for one in findings
            ],
        }
        write_json(folder / ZERO_SHOT, report)
        for one in findings:
            majority = one.details["majority"]
            print(f"  {one.task}: {one.metric} {one.value:.3f}, of the majority {majority:.3f}")
        return findings

    @classmethod
    def recompute(cls, row: Row, evidence: Evidence) -> Iterator[Remark]:
        """Score the predicted labels again, against labels that are read from the shards."""
        told, split = task_and_split(row)
        task, uri = _task_of(row, told), row.predictions_uri
        table = read_table(row, evidence)
        dataset = evidence.dataset(row)
        properties = evidence.properties(dataset, split)
        with blamed_on(f"{uri}: its predictions have no score"):
            found = _scores(task, table, len(properties))
        yield from check_agreement(row, found)
        if strange := sorted(set(table["prediction"]) - set(task.prompts)):
            yield f"{uri}: prediction {named(strange)} is no label of config.{_KEY}"
        yield from check_materials(table, dataset.split_by_id, split, uri)
        labels = [task.truth(json.loads(text)) for text in properties.values()]
        is_known = np.array([label is not None for label in labels], dtype=np.bool_)
        truth = Targets(np.array([str(label) for label in labels]), is_known)
        yield from check_targets(table, list(properties), truth, uri)
        if left_out := unscored(table, list(properties), truth):
            of_one = {task.modality: featurizers_of_run(row, evidence)[task.modality]}
            yield from check_left_out(uri, dataset, left_out, of_one, "all")
        yield from check_pretraining_seed(row, evidence)

    @classmethod
    def rerun(cls, row: Row, evidence: Evidence, sample: Sample) -> Iterator[Remark]:
        """Embed the sentences and a sample of the materials again."""
        task = _task_of(row, task_and_split(row)[0])
        yield from rerun_labels(
            row,
            evidence,
            sample,
            task.modality,
            lambda text: {label: prompt_embedding(text, s) for label, s in task.prompts.items()},
        )


def prompt_embedding(encoder: ExportedEncoder, sentences: Sequence[str]) -> Tensor:
    """Embed the sentences of one label: (d,) of unit length.

    Raises:
        UserError: if the encoder reads stored embeddings of texts, or a sentence has no words.
    """
    import torch
    import torch.nn.functional as F

    featurizer = encoder.featurizer
    if isinstance(featurizer, TextEmbedding) and featurizer.source != "hashed":
        raise UserError(
            "zero_shot: the run's text encoder reads embeddings stored with the data set and "
            "cannot read a sentence: pretrain with featurizer.type text_tokens or "
            "huggingface_embedding, or with source hashed"
        )
    units = []
    for sentence in sentences:
        try:
            units.append(encoder.embed_record(Record("prompt", {"text": sentence})))
        except ValueError as error:
            raise UserError(
                f"zero_shot: the sentence {sentence!r} has no words that the run's text encoder "
                f"reads: {error}"
            ) from error
    return F.normalize(torch.stack(units).mean(0), dim=0)


def _labelled(split: EmbeddedSplit, task: PromptTask) -> tuple[NDArray[np.int64], Labels]:
    """Give the rows of the split that have the modality and a label, and these labels."""
    if task.modality not in split.embeddings.values:
        raise UserError(f"zero_shot: {task.name}: the run has no encoder of {task.modality}")
    present = split.embeddings.present[task.modality].tolist()
    truth = {
        row: label
        for row, known in enumerate(split.properties)
        if present[row] and (label := task.truth(known)) is not None
    }
    if not truth:
        raise UserError(
            f"zero_shot: {task.name}: no {split.split} material with {task.modality} has a "
            f"property {task.target!r} of one of the labels"
        )
    return np.array(list(truth)), np.array(list(truth.values()), dtype=np.str_)


def _scores(task: PromptTask, table: pd.DataFrame, num_split: int) -> list[Finding]:
    """Score a table of predictions, out of so many materials of the split."""
    truth, predictions = table["target"].tolist(), table["prediction"].tolist()
    counts = Counter(truth)
    majority = {"accuracy": max(counts.values()) / len(truth), "balanced_accuracy": 1 / len(counts)}
    details = {
        "chance": 1 / len(task.prompts),
        "per_class_accuracy": per_class_accuracy(truth, predictions),
        "num_per_class": dict(sorted(counts.items())),
        "num_left_out": num_split - len(table),
    }
    return [
        Finding(
            task=task.task,
            metric=metric,
            value=function(truth, predictions),
            higher_is_better=True,
            num_test=len(table),
            predictions=task.file,
            details={**details, "majority": majority[metric]},
            settings={_KEY: task.model_dump(mode="json")},
        )
        for metric, function in (
            ("accuracy", accuracy),
            ("balanced_accuracy", balanced_accuracy),
        )
    ]


def _task_of(row: Row, told: str) -> PromptTask:
    if _KEY not in row.config:
        raise FaultError(f"config has no {_KEY}, of which task {told!r} would be")
    try:
        task = PromptTask.model_validate(row.config[_KEY])
    except ValidationError as error:
        raise UnreachableError(f"config.{_KEY} cannot be read by this omnimat") from error
    if told != task.task:
        raise FaultError(f"task is {told!r}, config has {task.task!r}")
    return task
