"""One trial: train a property head and its encoders, and keep the best epoch on validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter

import pandas as pd
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from upath import UPath

from omnimat.encoders.export import WEIGHTS_FILE, load
from omnimat.encoders.fusion import FusionSettings
from omnimat.evaluation.inputs import StoreLocation
from omnimat.finetune.examples import Examples, apply_in_batches, read_examples
from omnimat.finetune.fit import Fit
from omnimat.finetune.model import PropertyModel
from omnimat.finetune.settings import MissingModalities, TrialSettings
from omnimat.finetune.tasks import TargetCodec, TaskSettings, count_unseen, fit_codec
from omnimat.materials.record import Modality
from omnimat.materials.settings import Settings
from omnimat.materials.split import Split
from omnimat.shards.files import write_atomically

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
        return read_examples(
            self.store.open(),
            {modality: self.store.featurizers[modality] for modality in self.exports},
            self.task,
            split,
            missing_modalities=self.missing_modalities,
            device=_device(),
            max_records=max_records,
        )


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
        modality: card.encoder.build(card.embedding_dim) if is_new else encoder
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

    The same settings on the same machine give the same bits.

    Args:
        plan: of the sweep.
        settings: of this trial.
        folder: to write.
        report: called with the history's entry after each epoch.

    Raises:
        UserError: if a split has no record that the task can use.
        FloatingPointError: if training diverges.
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
    result = TrialResult(
        plan_fingerprint=plan.fingerprint,
        settings=settings,
        codec=codec,
        validation_metric=fit.best["validation_metric"],
        best_epoch=int(fit.best["epoch"]),
        samples_seen=len(train) * len(fit.history),
        wall_time_s=round(perf_counter() - start_s, 2),
        num_records={name: len(examples) for name, examples in splits.items()},
        num_without_target={name: e.num_without_target for name, e in splits.items()},
        num_without_modality={name: e.num_without_modality for name, e in splits.items()},
        num_unseen_classes=count_unseen(codec, validation.targets),
        history=tuple(fit.history),
    )
    write_atomically(folder / RESULT_FILE, result.model_dump_json(indent=1).encode())
    return result


def read_result(plan: TrialPlan, settings: TrialSettings, folder: UPath) -> TrialResult | None:
    """Read what an earlier trial of this plan and these settings found, if it finished."""
    path = folder / RESULT_FILE
    if not path.exists():
        return None
    result = TrialResult.model_validate_json(path.read_text())
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
