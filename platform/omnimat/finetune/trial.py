"""One trial: train a property head and its encoders, and keep the best epoch on validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import pandas as pd
import torch
from pydantic import ValidationError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from upath import UPath

from omnimat.encoders.export import WEIGHTS_FILE, load
from omnimat.encoders.fusion import FusionSettings
from omnimat.features.layout import Featurizer
from omnimat.finetune.examples import (
    Examples,
    Usable,
    apply_in_batches,
    find_usable,
    read_examples,
)
from omnimat.finetune.fit import Fit
from omnimat.finetune.model import PropertyModel
from omnimat.finetune.settings import MissingModalities, TrialSettings
from omnimat.finetune.tasks import TargetCodec, TaskSettings, count_unseen, fit_codec
from omnimat.materials.errors import UserError
from omnimat.materials.provenance import code_commit, hardware
from omnimat.materials.record import Modality
from omnimat.materials.settings import Settings
from omnimat.materials.split import SPLITS, Split
from omnimat.shards.files import write_atomically
from omnimat.stream.location import StoreLocation
from omnimat.stream.store import FeatureStore

RESULT_FILE = "trial.json"


@dataclass(frozen=True, slots=True)
class TrialPlan:
    """What all trials of a sweep share.

    Attributes:
        store: features that the encoders take.
        exports: folder of each exported encoder.
        fusion: of several modalities.
        missing_modalities: what becomes of a record that lacks one.
        task: what to predict.
        fingerprint: of all of this by content; a trial of another fingerprint is another trial.
    """

    store: StoreLocation
    exports: Mapping[Modality, UPath]
    fusion: FusionSettings
    missing_modalities: MissingModalities
    task: TaskSettings
    fingerprint: str

    def examples(self, split: Split, max_records: int | None = None) -> Examples:
        """Read a split for this process."""
        store = self.store.open()
        usable = self._usable(store, split)
        return read_examples(store, self._featurizers, usable, _device(), max_records)

    def check_splits(self) -> None:
        """Find out before any training whether every split can be used.

        Raises:
            UserError: if one has no record with the target and the modalities.
        """
        store = self.store.open()
        for split in SPLITS:
            self._usable(store, split)

    def _usable(self, store: FeatureStore, split: Split) -> Usable:
        return find_usable(store, self._featurizers, self.task, split, self.missing_modalities)

    @property
    def _featurizers(self) -> dict[Modality, Featurizer]:
        return {modality: self.store.featurizers[modality] for modality in self.exports}


class TrialResult(Settings):
    """What a trial found; ``trial.json`` in its folder, written last.

    Attributes:
        plan_fingerprint: of the trial's plan.
        settings: of the trial.
        codec: maps the network's outputs to the target.
        validation_metric: of the best epoch, in the target's unit.
        best_epoch: from 1.
        samples_seen: in training, repeats counted.
        wall_time_s: training and validation.
        hardware: it ran on, as ``materials.provenance.hardware`` gives it.
        code_commit: it ran, as ``materials.provenance.code_commit`` gives it.
        code_dirty: likewise.
        num_records: used, by split.
        num_without_target: records left out, by split.
        num_without_modality: further records left out, by split.
        num_unseen_classes: validation records whose class training never saw.
        history: per epoch ``epoch``, ``train_loss``, ``validation_metric`` and ``lr``.
    """

    plan_fingerprint: str
    settings: TrialSettings
    codec: TargetCodec
    validation_metric: float
    best_epoch: int
    samples_seen: int
    wall_time_s: float
    hardware: dict[str, Any]
    code_commit: str
    code_dirty: bool
    num_records: dict[Split, int]
    num_without_target: dict[Split, int]
    num_without_modality: dict[Split, int]
    num_unseen_classes: int
    history: tuple[dict[str, float], ...]


def build_model(plan: TrialPlan, settings: TrialSettings, num_outputs: int) -> PropertyModel:
    """Build a trial's network as it is before training; the seed decides all random weights."""
    loaded = {modality: load(folder) for modality, folder in plan.exports.items()}
    torch.manual_seed(settings.seed)
    is_new = settings.variant == "from_scratch"
    encoders = {
        modality: card.build() if is_new else encoder
        for modality, (encoder, card) in loaded.items()
    }
    (embedding_dim,) = {card.embedding_dim for _, card in loaded.values()}  # one run, one width
    return PropertyModel(encoders, plan.fusion, embedding_dim, num_outputs)


def run_trial(
    plan: TrialPlan,
    settings: TrialSettings,
    folder: UPath,
    report: Callable[[dict[str, float]], None],
) -> TrialResult:
    """Train, and leave the best weights and then ``trial.json`` in the folder.

    The same settings on the same CPU give the same bits; on a GPU sums over atoms may be added in
    another order.

    Args:
        plan: of the sweep.
        settings: of this trial.
        folder: to write.
        report: called with the history's entry after each epoch.

    Raises:
        UserError: if a split has no record that the task can use.
        RunError: if training diverges.
    """
    start_s = perf_counter()
    torch.set_num_threads(settings.num_threads)
    train = plan.examples("train", settings.max_train_records)
    validation = plan.examples("validation")
    codec = fit_codec(plan.task, train.targets)
    model = build_model(plan, settings, codec.num_outputs).to(_device())
    fit = Fit(plan.task, settings, codec, model, train, validation)
    fit.run(report)
    state = {name: value.cpu().contiguous() for name, value in model.state_dict().items()}
    write_atomically(folder / WEIGHTS_FILE, save_tensors(state))
    splits: dict[Split, Examples] = {"train": train, "validation": validation}
    commit, is_dirty = code_commit()
    result = TrialResult(
        plan_fingerprint=plan.fingerprint,
        settings=settings,
        codec=codec,
        validation_metric=fit.best["validation_metric"],
        best_epoch=int(fit.best["epoch"]),
        samples_seen=len(train) * len(fit.history),
        wall_time_s=round(perf_counter() - start_s, 2),
        hardware=hardware(),
        code_commit=commit,
        code_dirty=is_dirty,
        num_records={name: len(examples) for name, examples in splits.items()},
        num_without_target={name: e.num_without_target for name, e in splits.items()},
        num_without_modality={name: e.num_without_modality for name, e in splits.items()},
        num_unseen_classes=count_unseen(codec, validation.targets),
        history=tuple(fit.history),
    )
    write_atomically(folder / RESULT_FILE, result.model_dump_json(indent=1).encode())
    return result


def read_result(plan: TrialPlan, settings: TrialSettings, folder: UPath) -> TrialResult | None:
    """Read what an earlier trial of this plan and these settings found, if it finished.

    Raises:
        UserError: if another version of omnimat wrote it.
    """
    path = folder / RESULT_FILE
    if not path.exists():
        return None
    try:
        result = TrialResult.model_validate_json(path.read_text())
    except ValidationError as error:
        raise UserError(
            f"{path} was written by another version of omnimat; choose another name for the run, "
            f"or delete {folder} to train this trial again"
        ) from error
    is_same = result.plan_fingerprint == plan.fingerprint and result.settings == settings
    return result if is_same else None


def predict(plan: TrialPlan, result: TrialResult, folder: UPath, split: Split) -> pd.DataFrame:
    """Predict a split with a trial's best weights.

    Returns:
        The columns ``material_id``, ``target``, ``prediction`` and ``split``; a target of several
        numbers is an array in its cell.
    """
    torch.set_num_threads(result.settings.num_threads)
    examples = plan.examples(split)
    model = build_model(plan, result.settings, result.codec.num_outputs)
    model.load_state_dict(load_tensors((folder / WEIGHTS_FILE).read_bytes()))
    parts = apply_in_batches(
        model.to(_device()), examples.inputs, len(examples), result.settings.batch_size
    )
    predictions = result.codec.decode(torch.cat(parts).cpu().numpy())
    return pd.DataFrame(
        {
            "material_id": examples.material_ids,
            "target": list(examples.targets),
            "prediction": list(predictions),
            "split": split,
        }
    )


def _device() -> torch.device:
    """Ray hides the GPUs that a trial did not ask for."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
