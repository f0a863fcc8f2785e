"""One trial: a property head and its encoders are trained, and the best epoch is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors.torch import save as save_tensors
from torch import nn
from upath import UPath

from omnimat.base.checked_json import write_checked_json
from omnimat.base.errors import UserError
from omnimat.base.files import write_atomically
from omnimat.base.lease import CheckHeld, unleased
from omnimat.base.provenance import code_commit, hardware
from omnimat.base.workspace import TRIAL
from omnimat.finetune.averaging import Mean, averaged
from omnimat.finetune.codec import ClassIndex, JointCodec, TargetCodec, count_unseen
from omnimat.finetune.examples import Examples, apply_in_batches
from omnimat.finetune.fit import Fit, validation_key
from omnimat.finetune.heads.head import HeadSettings
from omnimat.finetune.heads.linear import LinearSettings
from omnimat.finetune.model import PropertyModel
from omnimat.finetune.outcome import TrialResult, read_weights
from omnimat.finetune.plan import TrialPlan
from omnimat.finetune.tasks import TaskSettings
from omnimat.finetune.trial_settings import FROZEN, TrialSettings
from omnimat.materials.split import Split
from omnimat.models.export import WEIGHTS_FILE, Card, load
from omnimat.nn.precision import warn_of_emulation

# So all trials are validated by the same views.
_VALIDATION_SEED = 0


def build_model(plan: TrialPlan, settings: TrialSettings, num_outputs: int) -> PropertyModel:
    """Build the network as it is before training; the seed decides all random weights.

    Those of an encoder that has seen no sample are random, too: it was added to a packed model.
    """
    loaded = {modality: load(folder) for modality, folder in plan.exports.items()}
    torch.manual_seed(settings.seed)
    encoders = {
        modality: card.build() if _is_new(card, settings) else encoder
        for modality, (encoder, card) in loaded.items()
    }
    (embedding_dim,) = {card.embedding_dim for _, card in loaded.values()}  # one run, one width
    return assemble(encoders, embedding_dim, settings, plan.head, num_outputs)


def _is_new(card: Card, settings: TrialSettings) -> bool:
    is_untrained = settings.variant not in FROZEN and not card.samples_seen
    return settings.variant == "from_scratch" or is_untrained


def assemble(
    encoders: Mapping[str, nn.Module],
    embedding_dim: int,
    settings: TrialSettings,
    head: HeadSettings,
    num_outputs: int,
) -> PropertyModel:
    """Put a head on encoders; that of a linear probe is always a linear layer."""
    chosen = LinearSettings() if settings.variant == "linear_probe" else head
    return PropertyModel(encoders, chosen.build(tuple(encoders), embedding_dim, num_outputs))


def run_trial(
    plan: TrialPlan,
    settings: TrialSettings,
    folder: UPath,
    report: Callable[[dict[str, float]], None],
    check_held: CheckHeld = unleased,
) -> TrialResult:
    """Train, and leave the best weights and then ``trial.json`` in the folder.

    The same settings on the same CPU give the same bits. On a GPU, sums over atoms may be added up
    in another order.

    Args:
        plan: what the sweep's trials share.
        settings: the settings of this trial.
        folder: where the trial writes.
        report: called with each new entry of the history, after every epoch.
        check_held: raises an error if another process has taken the sweep over.

    Raises:
        UserError: if a split has no record that the task can use.
        RunError: if training diverges, or another process has taken the sweep over.
    """
    start_s = perf_counter()
    torch.set_num_threads(settings.num_threads)
    warn_of_emulation(settings.precision, plan.device)
    fit = _fit(plan, settings)
    fit.run(report)
    state = {name: value.cpu().contiguous() for name, value in fit.model.state_dict().items()}
    weights = save_tensors(state)
    check_held()
    write_atomically(folder / WEIGHTS_FILE, weights)
    found = _result(plan, fit, start_s)
    sha256 = hashlib.sha256(weights).hexdigest()
    result = found.model_copy(update={"weights_sha256": sha256})
    check_held()
    write_checked_json(folder / TRIAL, result.model_dump(mode="json"))
    return result


def _fit(plan: TrialPlan, settings: TrialSettings) -> Fit:
    """Read what a trial learns from, and build what learns."""
    train = plan.examples("train", settings.fold, settings.train_fraction, settings.seed)
    validation = plan.examples("validation", settings.fold, seed=_VALIDATION_SEED)
    for task, targets in zip(plan.tasks, train.targets, strict=True):
        if not targets.is_known.any():
            raise UserError(
                f"train_fractions: of {len(train)} training records none has {task.target!r}; take "
                f"{settings.train_fraction:g} out"
            )
    codec = JointCodec.fit(plan.tasks, train.targets)
    model = build_model(plan, settings, codec.num_outputs).to(plan.device)
    return Fit(plan.tasks, settings, codec, model, train, validation)


def _result(plan: TrialPlan, fit: Fit, start_s: float) -> TrialResult:
    commit, is_dirty = code_commit()
    splits: dict[Split, Examples] = {"train": fit.train, "validation": fit.validation}
    judged = zip(plan.tasks, fit.codec.codecs, splits["validation"].targets, strict=True)
    return TrialResult(
        plan_fingerprint=plan.fingerprint,
        settings=fit.settings,
        codec=fit.codec,
        validation_error=fit.best["validation_error"],
        validation_metrics={task.name: fit.best[validation_key(task)] for task in plan.tasks},
        best_epoch=int(fit.best["epoch"]),
        samples_seen=len(splits["train"]) * len(fit.history),
        wall_time_s=round(perf_counter() - start_s, 2),
        hardware=hardware(),
        code_commit=commit,
        code_dirty=is_dirty,
        num_records={name: len(examples) for name, examples in splits.items()},
        num_without_target={name: e.num_without_target for name, e in splits.items()},
        num_without_modality={name: e.num_without_modality for name, e in splits.items()},
        num_unseen_classes={task.name: count_unseen(c, targets) for task, c, targets in judged},
        history=tuple(fit.history),
    )


def predict(
    plan: TrialPlan, result: TrialResult, folder: UPath, split: Split
) -> dict[str, pd.DataFrame]:
    """Predict a split of the trial's fold or data set with its best weights.

    Returns:
        For each task, by name, a table of the records whose target is known, with the columns
        ``material_id``, ``target``, ``prediction`` and ``split``, and ``probability`` where the
        prediction is a class: how likely the network holds it, 0 to 1. Where a target is several
        numbers, its cell is an array.
    """
    examples = plan.examples(split, result.settings.fold)
    parts = result.codec.parts(_outputs(plan, examples, result, folder))
    told = [_predicted(*pair) for pair in zip(result.codec.codecs, parts, strict=True)]
    return _tables(plan.tasks, examples, told, split)


def predict_mean(
    plan: TrialPlan, members: Sequence[tuple[TrialResult, UPath]], split: Split
) -> dict[str, pd.DataFrame]:
    """Predict a split with the mean of several trials of one contender, as a packed model does.

    Args:
        plan: what the trials share.
        members: their results and folders.
        split: which split.

    Returns:
        Tables as those of ``predict``.
    """
    first, _ = members[0]
    examples = plan.examples(split, first.settings.fold)
    values = np.stack([_outputs(plan, examples, result, folder) for result, folder in members])
    assert all(result.codec == first.codec for result, _ in members)  # of one training split
    means = averaged(first.codec, values)
    told = [_averaged(*pair) for pair in zip(first.codec.codecs, means, strict=True)]
    return _tables(plan.tasks, examples, told, split)


def _outputs(
    plan: TrialPlan, examples: Examples, result: TrialResult, folder: UPath
) -> NDArray[np.float32]:
    """Give the (N, num_outputs) outputs of a trial's best weights."""
    torch.set_num_threads(result.settings.num_threads)
    model = build_model(plan, result.settings, result.codec.num_outputs)
    model.load_state_dict(read_weights(result, folder))
    batches = apply_in_batches(
        model.to(plan.device), examples.inputs, len(examples), result.settings
    )
    outputs: NDArray[np.float32] = torch.cat(batches).float().cpu().numpy()
    return outputs


def _tables(
    tasks: Sequence[TaskSettings],
    examples: Examples,
    told: Sequence[Mapping[str, NDArray[Any]]],
    split: Split,
) -> dict[str, pd.DataFrame]:
    """Lay out what is told of N records for each task, without those of unknown target."""
    return {
        task.name: pd.DataFrame(
            {
                "material_id": examples.material_ids[targets.is_known],
                "target": list(targets.known),
                **{name: list(values[targets.is_known]) for name, values in columns.items()},
                "split": split,
            }
        )
        for task, targets, columns in zip(tasks, examples.targets, told, strict=True)
    }


def _predicted(codec: TargetCodec, outputs: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """Map the (N, k) outputs of a task to the columns that tell what is predicted."""
    columns: dict[str, NDArray[Any]] = {"prediction": codec.decode(outputs)}
    if isinstance(codec, ClassIndex):
        columns["probability"] = codec.probability(outputs)
    return columns


def _averaged(codec: TargetCodec, mean: Mean) -> dict[str, NDArray[Any]]:
    """Give the same columns of a mean over members."""
    columns: dict[str, NDArray[Any]] = {"prediction": mean.values}
    if isinstance(codec, ClassIndex):
        columns["probability"] = 1 - mean.spreads
    return columns
