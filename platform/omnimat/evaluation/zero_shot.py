"""Zero-shot classification: a material takes the label whose sentences lie nearest to it.

As CLIP does with images (Radford et al., ICML 2021): the run's own text encoder embeds the
sentences of each label, the unit embeddings are averaged and made unit length again, and the
material's embedding, of its structure or another modality, takes the label of the largest cosine.
Nothing is trained on labels, so the sentences are part of the result.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.files import write_atomically
from omnimat.base.settings import Settings
from omnimat.evaluation.metrics import accuracy, balanced_accuracy, per_class_accuracy
from omnimat.evaluation.section import EmbeddedSplit, Finding
from omnimat.evaluation.threshold import Threshold
from omnimat.materials.record import Record
from omnimat.materials.split import Split
from omnimat.modalities.registry import ModalityName
from omnimat.modalities.text.embedding import TextEmbedding
from omnimat.models.embed import ExportedEncoder

ZERO_SHOT = "zero_shot.json"

Labels = NDArray[np.str_]


class PromptTask(Settings):
    """One property to be told from sentences.

    Attributes:
        name: of the task, in words.
        target: name of the property that holds the truth.
        threshold: makes labels of a number; without it the property is the label.
        prompts: sentences by label.
        modality: whose embeddings are sorted.
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
    def file(self) -> str:
        """Name of its predictions."""
        return f"zero_shot-{self.name.replace(' ', '_')}.parquet"

    def truth(self, properties: Mapping[str, Any]) -> str | None:
        """Label a material; None where the property is not known or none of the labels."""
        value = properties.get(self.target)
        if value is None:
            return None
        label = str(value) if self.threshold is None else self.threshold.label(float(value))
        return label if label in self.prompts else None


class ZeroShotSettings(Settings):
    """Materials sorted by sentences.

    Attributes:
        tasks: of different names.
    """

    tasks: tuple[PromptTask, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        if len({task.file for task in self.tasks}) < len(self.tasks):
            raise ValueError("tasks: two have the same name")
        return self

    def evaluate(self, split: EmbeddedSplit, folder: UPath) -> list[Finding]:
        """Sort the materials of each task, write predictions and ``zero_shot.json``.

        Raises:
            UserError: if the run cannot embed a sentence, lacks the modality, or no material of
                the split has the property.
        """
        if "text" not in split.embedder.cards:
            raise UserError("zero_shot: the run has no encoder of text, so no sentence can be read")
        encoder = split.embedder.encoder("text")
        findings = []
        for task in self.tasks:
            rows, truth = _labelled(split, task)
            labels = np.array(list(task.prompts), dtype=np.str_)
            prompts = torch.stack([prompt_embedding(encoder, s) for s in task.prompts.values()])
            chosen = (split.embeddings.values[task.modality][rows] @ prompts.T).argmax(1)
            predictions = labels[chosen.numpy()]
            ids = split.records["material_id"].to_numpy(dtype=np.str_)[rows]
            write_atomically(folder / task.file, _predictions(ids, truth, predictions, split.split))
            num_left_out = len(split.positions) - len(rows)
            findings += _scores(task, truth, predictions, num_left_out)
        report = {
            **self.model_dump(mode="json"),
            "split": split.split,
            "findings": [
                {"task": one.task, "metric": one.metric, "value": one.value, **one.details}
                for one in findings
            ],
        }
        write_atomically(folder / ZERO_SHOT, f"{json.dumps(report, indent=1)}\n".encode())
        for one in findings:
            majority = one.details["majority"]
            print(f"  {one.task}: {one.metric} {one.value:.3f}, of the majority {majority:.3f}")
        return findings


def prompt_embedding(encoder: ExportedEncoder, sentences: Sequence[str]) -> Tensor:
    """Embed the sentences of one label: (d,) of unit length.

    Raises:
        UserError: the encoder reads stored embeddings of texts, or the sentence has no words.
    """
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
    """Give the rows of the split that have the modality and a label, and the labels."""
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


def _scores(
    task: PromptTask, truth: Labels, predictions: Labels, num_left_out: int
) -> list[Finding]:
    counts = Counter(truth.tolist())
    per_class = per_class_accuracy(truth, predictions)
    majority = {"accuracy": max(counts.values()) / len(truth), "balanced_accuracy": 1 / len(counts)}
    details = {
        "chance": 1 / len(task.prompts),
        "per_class_accuracy": per_class,
        "num_per_class": dict(sorted(counts.items())),
        "num_left_out": num_left_out,
    }
    return [
        Finding(
            task=f"zero-shot {task.name} of {task.modality}",
            metric=metric,
            value=function(truth, predictions),
            higher_is_better=True,
            num_test=len(truth),
            predictions=task.file,
            details={**details, "majority": majority[metric]},
            settings={"zero_shot": task.model_dump(mode="json")},
        )
        for metric, function in (
            ("accuracy", accuracy),
            ("balanced_accuracy", balanced_accuracy),
        )
    ]


def _predictions(ids: Labels, truth: Labels, predictions: Labels, split: Split) -> bytes:
    columns = {
        "material_id": ids,
        "target": truth,
        "prediction": predictions,
        "split": np.full(len(ids), split),
    }
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()
