"""The test split, which nothing else reads, predicted and scored by the chosen trials."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import pandas as pd
import ray
from ray.exceptions import RayError
from upath import UPath

from omnimat.base.confined import Confined
from omnimat.base.files import write_atomically
from omnimat.base.lease import Fence
from omnimat.base.provenance import sha256_of
from omnimat.base.settings import fingerprint
from omnimat.base.workspace import Workspace
from omnimat.cluster.tasks import explained
from omnimat.evaluation.leakage import FoundOverlap, find_leakage, refuse_inputs
from omnimat.evaluation.overlap import Overlap
from omnimat.finetune.ensemble import ensemble_row
from omnimat.finetune.judging import Transfer, judging
from omnimat.finetune.outcome import TrialResult, trial_folder
from omnimat.finetune.plan import TrialPlan
from omnimat.finetune.rows import Scored
from omnimat.finetune.settings import FinetuneSettings
from omnimat.finetune.tasks import TaskSettings
from omnimat.finetune.trial import predict, predict_mean
from omnimat.finetune.trial_settings import Contender
from omnimat.leaderboard.overlap import AnyOverlap
from omnimat.leaderboard.row import Row
from omnimat.materials.split import Split
from omnimat.models.export import Card
from omnimat.models.inputs import featurizers_of

_NUM_TRIES = 3  # of predicting a split


@dataclass(frozen=True, slots=True)
class Seen:
    """What the trials of a sweep have seen before of what judges them.

    Attributes:
        in_pretraining: by the encoders; None where no trial starts from pretrained ones.
        in_training: by the trials themselves, where another data set judges.
    """

    in_pretraining: FoundOverlap | None = None
    in_training: tuple[Transfer, Overlap] | None = None

    @classmethod
    def of(
        cls, settings: FinetuneSettings, cards: Mapping[str, Card], workspace: Workspace
    ) -> Self:
        """Refuse what must not be judged, and find out what of the rest was seen before.

        Raises:
            UserError: the model's inputs or its pretraining have shown what is predicted.
        """
        in_pretraining, in_training = None, None
        if settings.is_from_scratch:
            refuse_inputs(featurizers_of(cards), settings.judged)
        else:
            in_pretraining = find_leakage(
                workspace, settings.run, cards, judging(settings, workspace)
            )
        if settings.test_dataset is not None:
            transfer = Transfer.of(settings, workspace)
            in_training = (transfer, transfer.overlap(workspace))
        return cls(in_pretraining, in_training)

    def of_trial(
        self, result: TrialResult, tested: Collection[str], validating: Collection[str]
    ) -> tuple[AnyOverlap, ...]:
        """Give what the row of a trial tells."""
        found: list[AnyOverlap] = []
        parts: dict[Split, Collection[str]] = {"test": tested}
        if self.in_training is None:
            parts["validation"] = validating
        else:
            transfer, overlap = self.in_training
            found.append(transfer.of_tested(overlap, tested))
        if self.in_pretraining is not None and result.settings.variant != "from_scratch":
            found.append(self.in_pretraining.of_parts(parts))
        return tuple(found)


def score_trials(
    plan: TrialPlan,
    trials: Sequence[TrialResult],
    settings: FinetuneSettings,
    fence: Fence,
    seen: Seen,
) -> list[Scored]:
    """Predict the test split, which nothing else reads, with all chosen trials in parallel."""
    folders = [trial_folder(fence.folder, result.settings) for result in trials]
    arguments = [(plan, *pair, "test") for pair in zip(trials, folders, strict=True)]
    predicted = _on_cluster(predict, arguments, settings)
    num_folds = 0 if settings.folds is None else plan.num_folds(settings.folds)
    validating = {fold: plan.material_ids("validation", fold) for fold in settings.each_fold()}
    scored = []
    for result, folder, by_task in zip(trials, folders, predicted, strict=True):
        for one in plan.tasks:
            table = by_task[one.name]
            path = _write_predictions(fence, one, result.settings.name, table)
            tested = table["material_id"].tolist()
            overlaps = seen.of_trial(result, tested, validating[result.settings.fold])
            scored.append(Scored(one, result, folder, table, path, num_folds, overlaps))
    return scored


def ensemble_rows(
    plan: TrialPlan,
    settings: FinetuneSettings,
    fence: Fence,
    scored: Sequence[tuple[Scored, Row]],
    storage: Confined,
) -> list[Row]:
    """Score the mean of the networks of each contender, of which there is one for each seed."""
    members: dict[Contender, dict[int, tuple[TrialResult, UPath]]] = {}
    for one, _ in scored:
        trial = one.result.settings
        members.setdefault(trial.contender, {})[trial.seed] = (one.result, one.folder)
    arguments = [(plan, tuple(each.values()), "test") for each in members.values()]
    predicted = _on_cluster(predict_mean, arguments, settings)
    rows = []
    for (contender, each), by_task in zip(members.items(), predicted, strict=True):
        first, _ = next(iter(each.values()))
        name = f"{first.settings.name}-mean-{fingerprint(list(each))[:8]}"
        for task in plan.tasks:
            path = _write_predictions(fence, task, name, by_task[task.name])
            files = {
                "predictions_uri": storage.name_of(path),
                "predictions_sha256": sha256_of(path),
            }
            own = [
                row
                for one, row in scored
                if (one.result.settings.contender, one.task) == (contender, task)
            ]
            rows.append(ensemble_row(own, task, by_task[task.name], files))
    return rows


def _write_predictions(fence: Fence, task: TaskSettings, name: str, table: pd.DataFrame) -> UPath:
    path = fence.folder / "predictions" / task.slug / f"{name}.parquet"
    fence.check()
    write_atomically(path, table.to_parquet(index=False))
    return path


def _on_cluster(
    predicts: Callable[..., dict[str, pd.DataFrame]],
    arguments: Sequence[tuple[Any, ...]],
    settings: FinetuneSettings,
) -> list[dict[str, pd.DataFrame]]:
    """Predict with each of these arguments, as many at once as the cluster holds."""
    resources = settings.trial_resources
    task = ray.remote(predicts).options(
        num_cpus=resources["CPU"], num_gpus=resources.get("GPU", 0), max_retries=_NUM_TRIES - 1
    )
    try:
        predicted: list[dict[str, pd.DataFrame]] = ray.get([task.remote(*one) for one in arguments])
    except RayError as error:
        raise explained(error, _NUM_TRIES) from None
    return predicted
