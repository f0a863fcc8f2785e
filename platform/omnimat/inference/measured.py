"""What the networks of a sweep are worth, measured on its splits when they are packed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from omnimat.base.errors import UserError
from omnimat.finetune.averaging import Mean, averaged
from omnimat.finetune.codec import JointCodec
from omnimat.finetune.examples import Examples, FeatureInputs
from omnimat.finetune.heads.linear import LinearSettings
from omnimat.finetune.outcome import TrialResult
from omnimat.finetune.plan import TrialPlan
from omnimat.finetune.settings import FinetuneSettings
from omnimat.finetune.tasks import TaskSettings
from omnimat.inference.card import Network, Predicted, Predictor, Score
from omnimat.inference.conformal import Calibration, covered
from omnimat.inference.domain import FAR_QUANTILE, Domain, Reference, elements_of
from omnimat.inference.network import Ensemble, Outputs, Weights
from omnimat.materials.split import SPLITS, Split
from omnimat.models.export import Card


def measured(
    plan: TrialPlan,
    settings: FinetuneSettings,
    cards: Mapping[str, Card],
    trials: Sequence[TrialResult],
    weights: Sequence[Weights],
) -> tuple[Predictor, Reference]:
    """Describe the members, and measure on validation and test what they are worth."""
    first = trials[0].settings
    network = Network(
        head=LinearSettings() if first.variant == "linear_probe" else plan.head,
        modalities=settings.modalities,
        codec=trials[0].codec,
        precision=first.precision,
        seeds=tuple(one.settings.seed for one in trials),
    )
    splits = {split: plan.examples(split) for split in SPLITS}
    ensemble = Ensemble(network, cards, weights, torch.device("cpu"))
    outputs = {split: _outputs(ensemble, examples) for split, examples in splits.items()}
    reference = Reference.fit(outputs["train"].embeddings)
    far = np.quantile(reference.distances(outputs["validation"].embeddings), FAR_QUANTILE)
    records = plan.store.open().records
    is_learned = records["material_id"].isin(splits["train"].material_ids)
    predictor = Predictor(
        network=network,
        missing_modalities=settings.missing_modalities,
        predicted=_predicted(settings.tasks, network.codec, splits, outputs),
        domain=_domain(records[is_learned], float(far)),
    )
    return predictor, reference


def _outputs(ensemble: Ensemble, examples: Examples) -> Outputs:
    assert isinstance(examples.inputs, FeatureInputs)  # as they are read
    return ensemble.outputs(examples.inputs.table, examples.inputs.featurizers)


def _predicted(
    tasks: Sequence[TaskSettings],
    codec: JointCodec,
    splits: Mapping[Split, Examples],
    outputs: Mapping[Split, Outputs],
) -> tuple[Predicted, ...]:
    """Calibrate every task on the validation split, and score it on the test split."""
    judging: tuple[Split, ...] = ("validation", "test")
    means = {split: averaged(codec, outputs[split].values) for split in judging}
    each = [codec.decode(member) for member in outputs["test"].values]
    found = []
    for place, task in enumerate(tasks):
        validation, test = (_Judged.of(splits[s], means[s], place) for s in judging)
        if not (np.isfinite(validation.spreads).all() and np.isfinite(test.spreads).all()):
            raise _not_finite(task)
        calibration = None
        if task.kind == "regression" and validation.targets.ndim == 1:
            calibration = Calibration.fit(*validation)
        is_known = splits["test"].targets[place].is_known
        score = _score(task, test, [member[place][is_known] for member in each], calibration)
        found.append(Predicted(task=task, calibration=calibration, score=score))
    return tuple(found)


def _score(
    task: TaskSettings,
    test: _Judged,
    members: Sequence[NDArray[Any]],
    calibration: Calibration | None,
) -> Score:
    """Score the mean and each member on the test split."""
    score = task.scoring.function
    coverage = None
    if calibration is not None:
        coverage = covered(test.targets, test.values, calibration.half_widths(test.spreads))
    with np.errstate(over="ignore"):
        of_mean = float(score(test.targets, test.values))
        of_each = tuple(float(score(test.targets, values)) for values in members)
    if not np.isfinite((of_mean, *of_each)).all():
        raise _not_finite(task)
    return Score(
        metric=task.metric_name,
        of_each=of_each,
        of_mean=of_mean,
        num_test=len(test.targets),
        coverage=coverage,
    )


def _not_finite(task: TaskSettings) -> UserError:
    return UserError(
        f"tasks.{task.name}: the trials predict numbers that are not finite; run the sweep again "
        "under another name with smaller learning rates"
    )


class _Judged(NamedTuple):
    """Targets that are known, and what was predicted for them."""

    targets: NDArray[Any]
    values: NDArray[Any]
    spreads: NDArray[np.float64]

    @classmethod
    def of(cls, examples: Examples, means: Sequence[Mean], place: int) -> Self:
        targets, mean = examples.targets[place], means[place]
        is_known = targets.is_known
        return cls(targets.known, mean.values[is_known], mean.spreads[is_known])


def _domain(training: pd.DataFrame, far: float) -> Domain:
    numbers = training["num_atoms"].dropna()
    return Domain(
        elements=elements_of(training["reduced_formula"].dropna().unique()),
        max_atoms=int(numbers.max()) if len(numbers) else 0,
        far=far,
        num_materials=len(training),
    )
