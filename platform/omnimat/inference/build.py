"""Packs a finished run: its encoders, or what its sweep has trained to predict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors.torch import save as save_tensors
from upath import UPath

from omnimat import __version__
from omnimat.base.checked_json import read_checked_json
from omnimat.base.errors import UserError
from omnimat.base.settings import first_mistake
from omnimat.base.workspace import RESULT, Workspace
from omnimat.finetune.codec import JointCodec
from omnimat.finetune.examples import Examples, FeatureInputs
from omnimat.finetune.heads.linear import LinearSettings
from omnimat.finetune.outcome import TrialResult, read_weights, trial_folder
from omnimat.finetune.plan import TrialPlan, make_plan
from omnimat.finetune.settings import FinetuneSettings
from omnimat.finetune.tasks import TaskSettings
from omnimat.inference.card import Network, PackageCard, Predicted, Predictor, Score, Trained
from omnimat.inference.columns import check_columns
from omnimat.inference.conformal import Calibration, covered
from omnimat.inference.domain import FAR_QUANTILE, Domain, Reference, elements_of
from omnimat.inference.members import members
from omnimat.inference.network import Ensemble, Mean, Outputs, Weights, averaged
from omnimat.inference.origin import as_trained, learned, pretraining
from omnimat.inference.package import (
    README,
    REFERENCE,
    check_free,
    encoder_file,
    member_file,
    stored,
    write,
)
from omnimat.inference.readme import model_card
from omnimat.materials.split import SPLITS, Split
from omnimat.models.export import Card, load
from omnimat.models.inputs import export_folder, featurizers_of, read_cards


def package(name: str, workspace: Workspace, out: Path, variant: str | None = None) -> PackageCard:
    """Pack a finished run.

    Args:
        name: name of a pretraining run, whose encoders are packed, or of a sweep, whose chosen
            trials are packed; such a package embeds by the encoders of its first trial, as they
            are after its training.
        workspace: where the run is.
        out: folder or zip to write.
        variant: which of a sweep's variants; by default the one of the least validation error.

    Raises:
        UserError: the run has not finished, it is of another kind, or there is something at
            ``out``.
    """
    check_free(out)
    run = workspace.run(name)
    try:
        result = read_checked_json(run / RESULT, "run its job again")
    except FileNotFoundError:
        raise UserError(f"{run} has no {RESULT}: run its job to the end first") from None
    settings = result.get("settings", {})
    if "tasks" in settings:
        card, files = _sweep(name, result, workspace, variant)
    elif "modalities" in settings and "objective" in settings:
        card, files = _encoders(name, settings, workspace)
    else:
        raise UserError(f"{run} trained no model; package the run of a pretrain or a finetune job")
    files[README] = model_card(card).encode()
    card = card.model_copy(update={"files": stored(files)})
    write(out, card, files)
    return card


def _refuse_other_models(name: str, cards: Mapping[str, Card]) -> None:
    """Refuse what would need a model or a file that the package does not hold."""
    for modality, featurizer in featurizers_of(cards).items():
        if featurizer.outside is not None:
            raise UserError(
                f"{name}: its {modality} is featurized by {featurizer.outside!r}, which a "
                "package does not hold; package a run whose featurizers need no other model"
            )


def _encoders(
    name: str, settings: dict[str, Any], workspace: Workspace
) -> tuple[PackageCard, dict[str, bytes]]:
    cards = read_cards(workspace.run(name))
    _refuse_other_models(name, cards)
    card = PackageCard(
        omnimat=__version__,
        name=name,
        files={},
        encoders=cards,
        trained=(learned(workspace, settings["dataset"], name, cards),),
        config=settings,
    )
    return card, _weights(workspace.run(name), cards)


def _sweep(
    name: str, result: Mapping[str, Any], workspace: Workspace, variant: str | None
) -> tuple[PackageCard, dict[str, bytes]]:
    settings = _settings_of(name, result)
    if settings.folds is not None:
        raise UserError(
            f"{name} trained a model for each fold; to package one, run a job without folds"
        )
    check_columns(settings.tasks)
    cards = read_cards(workspace.run(settings.run))
    used = {modality: cards[modality] for modality in settings.modalities}
    _refuse_other_models(name, used)
    plan = make_plan(settings, workspace, cards)
    trials = members(plan, settings, workspace.run(name), result["chosen"], variant)
    folders = [trial_folder(workspace.run(name), one.settings) for one in trials]
    weights = [read_weights(one, folder) for one, folder in zip(trials, folders, strict=True)]
    predictor, reference = _predictor(plan, settings, used, trials, weights)
    files = {
        member_file(seed): save_tensors(dict(w))
        for seed, w in zip(predictor.network.seeds, weights, strict=True)
    }
    tensors = {"mean": reference.mean, "whitening": reference.whitening}
    files[REFERENCE] = save_tensors(
        {key: torch.from_numpy(np.ascontiguousarray(value)) for key, value in tensors.items()}
    )
    manifest = plan.store.manifest
    card = PackageCard(
        omnimat=__version__,
        name=name,
        files={},
        encoders=as_trained(used, name, settings, manifest, trials[0]),
        predictor=predictor,
        trained=(
            *pretraining(workspace, settings.run, used, trials[0]),
            Trained.of(manifest, settings.dataset, name),
        ),
        config=settings.model_dump(mode="json"),
    )
    return card, files


def _settings_of(name: str, result: Mapping[str, Any]) -> FinetuneSettings:
    """Read the settings of a sweep from its result."""
    try:
        settings = FinetuneSettings.model_validate(result["settings"])
    except ValidationError as error:
        raise UserError(
            f"{name} was written by another version of omnimat ({first_mistake(error)}); run its "
            "job again under another name"
        ) from error
    if "chosen" not in result:
        raise UserError(f"{name} does not say which trials it chose; run its job again")
    return settings


def _predictor(
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


def _weights(run: UPath, cards: Mapping[str, Card]) -> dict[str, bytes]:
    modules = {modality: load(export_folder(run, modality))[0] for modality in cards}
    return {encoder_file(name): save_tensors(one.state_dict()) for name, one in modules.items()}
