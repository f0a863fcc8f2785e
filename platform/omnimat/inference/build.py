"""Packs a finished run: its encoders, or what its sweep has trained to predict."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from pydantic import ValidationError
from safetensors.torch import save as save_tensors
from upath import UPath

from omnimat import __version__
from omnimat.base.checked_json import read_checked_json
from omnimat.base.errors import UserError
from omnimat.base.settings import first_mistake
from omnimat.base.workspace import RESULT, Workspace
from omnimat.finetune.outcome import TrialResult, read_weights, trial_folder
from omnimat.finetune.plan import TrialPlan, make_plan
from omnimat.finetune.settings import FinetuneSettings
from omnimat.inference.card import (
    PackageCard,
    Seen,
    SeenMaterials,
    TestedOn,
    Trained,
)
from omnimat.inference.columns import check_columns
from omnimat.inference.measured import measured
from omnimat.inference.members import members
from omnimat.inference.network import Weights
from omnimat.inference.origin import (
    Tuned,
    as_trained,
    held_out_by,
    learned,
    pretraining,
    seen,
    withheld,
)
from omnimat.inference.package import (
    README,
    REFERENCE,
    SEEN,
    check_free,
    encoder_file,
    member_file,
    stored,
    write,
)
from omnimat.inference.readme import model_card
from omnimat.models.export import Card, load
from omnimat.models.inputs import export_folder, featurizers_of, read_cards


def package(
    name: str,
    workspace: Workspace,
    out: Path,
    variant: str | None = None,
    *,
    about: str = "",
    half: bool = False,
) -> PackageCard:
    """Pack a finished run.

    Args:
        name: name of a pretraining run, whose encoders are packed, or of a sweep, whose chosen
            trials are packed; such a package embeds by the encoders of its first trial, as they
            are after its training.
        workspace: where the run is.
        out: folder or zip to write.
        variant: which of a sweep's variants; by default the one of the least validation error.
        about: what its makers say of it, in Markdown.
        half: keep weights in 16 bits; what a sweep's model is worth is measured with these.

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
        card, files = _sweep(name, result, workspace, variant, half=half)
    elif "modalities" in settings and "objective" in settings:
        card, files = _encoders(name, settings, workspace, half=half)
    else:
        raise UserError(f"{run} trained no model; package the run of a pretrain or a finetune job")
    card = card.model_copy(update={"about": about})
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
    name: str, settings: dict[str, Any], workspace: Workspace, *, half: bool
) -> tuple[PackageCard, dict[str, bytes]]:
    cards = read_cards(workspace.run(name))
    _refuse_other_models(name, cards)
    told, materials = seen(workspace, name, cards)
    card = PackageCard(
        omnimat=__version__,
        name=name,
        files={},
        encoders=cards,
        trained=(learned(workspace, settings["dataset"], name, cards),),
        seen=told,
        withheld=withheld(workspace, held_out_by(workspace, name), materials),
        config=settings,
    )
    weights = _weights(workspace.run(name), cards)
    files = {file: save_tensors(_kept(one, half=half)) for file, one in weights.items()}
    return card, files | _listed(materials)


def _sweep(
    name: str, result: Mapping[str, Any], workspace: Workspace, variant: str | None, *, half: bool
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
    weights = [
        _kept(read_weights(one, folder), half=half)
        for one, folder in zip(trials, folders, strict=True)
    ]
    predictor, reference = measured(plan, settings, used, trials, weights)
    files = {
        member_file(seed): save_tensors(w)
        for seed, w in zip(predictor.network.seeds, weights, strict=True)
    }
    tensors = {"mean": reference.mean, "whitening": reference.whitening}
    files[REFERENCE] = save_tensors(
        {key: torch.from_numpy(np.ascontiguousarray(value)) for key, value in tensors.items()}
    )
    manifest = plan.store.manifest
    told, materials = _seen(settings, workspace, cards, plan, trials[0])
    held_out = (*settings.held_out, *held_out_by(workspace, settings.run))
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
        seen=told,
        withheld=withheld(workspace, held_out, materials),
        tested_on=_tested_on(settings, plan),
        config=settings.model_dump(mode="json"),
    )
    return card, files | _listed(materials)


def _seen(
    settings: FinetuneSettings,
    workspace: Workspace,
    cards: Mapping[str, Card],
    plan: TrialPlan,
    trial: TrialResult,
) -> tuple[Seen, SeenMaterials | None]:
    """Tell what a trial of a sweep has seen; from scratch, nothing of the pretraining."""
    learned_from = pd.concat([plan.records("train"), plan.records("validation")])
    targets = frozenset(task.target for task in settings.tasks)
    run = "" if trial.settings.variant == "from_scratch" else settings.run
    return seen(workspace, run, cards, Tuned(learned_from, targets))


def _tested_on(settings: FinetuneSettings, plan: TrialPlan) -> TestedOn | None:
    if settings.test_dataset is None:
        return None
    fingerprint = plan.judging.manifest.dataset_fingerprint
    return TestedOn(dataset=settings.test_dataset, dataset_fingerprint=fingerprint)


def _listed(materials: SeenMaterials | None) -> dict[str, bytes]:
    return {} if materials is None else {SEEN: f"{materials.model_dump_json()}\n".encode()}


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


def _weights(run: UPath, cards: Mapping[str, Card]) -> dict[str, Weights]:
    modules = {modality: load(export_folder(run, modality))[0] for modality in cards}
    return {encoder_file(name): one.state_dict() for name, one in modules.items()}


def _kept(weights: Weights, *, half: bool) -> dict[str, torch.Tensor]:
    """Give the weights that a package keeps: as they are, or those of matrices in 16 bits."""
    return {name: _rounded(one) if half and one.ndim > 1 else one for name, one in weights.items()}


def _rounded(matrix: torch.Tensor) -> torch.Tensor:
    """Round to 16 bits, unless a number is too large for these."""
    rounded = matrix.half()
    return rounded if rounded.isfinite().all() else matrix
