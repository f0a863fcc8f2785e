"""Nothing is judged by a property that its inputs or its pretraining have shown.

A run may be pretrained on properties of its materials (``modalities/properties``). To score it on
such a property is honest only for materials that it has not seen, nor any polymorph of them, and
only where the property is not itself an input.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping

import pandas as pd
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.workspace import RESULT, Workspace
from omnimat.materials.split import SPLITS, Split
from omnimat.modalities.layout import Featurizer
from omnimat.models.export import Card
from omnimat.models.inputs import featurizers_of
from omnimat.shards.manifest import Manifest, are_among
from omnimat.training.plan import make_plan
from omnimat.training.settings import PretrainSettings

_SHOWN = 3


def refuse_inputs(
    featurizers: Mapping[str, Featurizer], modalities: Collection[str], properties: Collection[str]
) -> None:
    """Refuse to judge embeddings by what they are made of.

    Args:
        featurizers: of the run's encoders, by modality.
        modalities: whose embeddings are judged.
        properties: that judge them.

    Raises:
        UserError: a modality shows one of the properties; the sentence names both.
    """
    for modality in modalities:
        if modality in featurizers:
            shown = set(featurizers[modality].properties_shown) & set(properties)
            if shown:
                raise UserError(
                    f"{min(shown)!r} is among the inputs: modalities.{modality} shows it; leave "
                    "this modality out, or judge by another property"
                )


def refuse_pretrained(
    workspace: Workspace,
    run: str,
    cards: Mapping[str, Card],
    dataset: str,
    splits: Collection[Split],
    properties: Collection[str],
) -> None:
    """Refuse to judge a run by properties that its pretraining has seen of the same materials.

    Args:
        workspace: where the run and the data sets lie.
        run: name of the pretraining run.
        cards: of the run's encoders.
        dataset: name of the data set that judges.
        splits: of that data set, whose materials judge.
        properties: that judge.

    Raises:
        UserError: pretraining has seen one of them, of a judging material or of its formula; the
            sentence says which, and of which materials.
    """
    if seen := _shown(cards, properties):
        index = _index(workspace.dataset(dataset))
        judging = index[index["split"].isin(splits)]
        remedy = f"pretrain with held_out: [{{dataset: {dataset}}}]"
        pretrained = _pretrained_on(workspace, run)
        _refuse(judging, pretrained, seen=seen, run=run, dataset=dataset, remedy=remedy)


def refuse_pretrained_folds(
    workspace: Workspace,
    run: str,
    cards: Mapping[str, Card],
    dataset: str,
    judging_records: Callable[[UPath], pd.DataFrame],
    properties: Collection[str],
) -> None:
    """Refuse the same where folds judge, whatever the split of the data set says.

    Args:
        workspace: where the run and the data sets lie.
        run: name of the pretraining run.
        cards: of the run's encoders.
        dataset: name of the data set that judges.
        judging_records: gives, of the folder of a data set, the index rows of the records that
            judge; only called where pretraining has seen a property.
        properties: that judge.

    Raises:
        UserError: as ``refuse_pretrained`` does.
    """
    if seen := _shown(cards, properties):
        judging = judging_records(workspace.dataset(dataset))
        kept = f"{{dataset: {dataset}, splits: [{', '.join(SPLITS)}]}}"
        remedy = f"pretrain on another data set with held_out: [{kept}]"
        pretrained = _pretrained_on(workspace, run)
        _refuse(judging, pretrained, seen=seen, run=run, dataset=dataset, remedy=remedy)


def _shown(cards: Mapping[str, Card], properties: Collection[str]) -> str | None:
    """Name one of some properties that pretraining has seen, or None."""
    shown = {name for one in featurizers_of(cards).values() for name in one.properties_shown}
    return min(shown & set(properties), default=None)


def _refuse(
    judging: pd.DataFrame,
    pretrained: pd.DataFrame,
    *,
    seen: str,
    run: str,
    dataset: str,
    remedy: str,
) -> None:
    """Refuse to judge if a judging record, or another of its formula, was pretrained on."""
    known = judging[are_among(judging, pretrained)]
    if len(known):
        ids = ", ".join(known["material_id"][:_SHOWN])
        raise UserError(
            f"{seen!r} was shown to run {run!r} in pretraining, for {len(known)} of the "
            f"{len(judging)} materials of data set {dataset!r} that judge it, or for others of "
            f"their formulas ({ids}{', ...' if len(known) > _SHOWN else ''}): {remedy}, or judge "
            "by another property"
        )


def _pretrained_on(workspace: Workspace, run: str) -> pd.DataFrame:
    """Give the index rows of the materials that a run was pretrained on."""
    path = workspace.run(run) / RESULT
    try:
        settings = json.loads(path.read_text())["settings"]
    except FileNotFoundError:
        raise UserError(
            f"run: {path} is not there, so nobody knows which materials {run!r} has seen; run its "
            "pretrain job to the end"
        ) from None
    plan = make_plan(run, PretrainSettings.model_validate(settings), workspace)
    return plan.records


def _index(dataset: UPath) -> pd.DataFrame:
    return Manifest.load(dataset).records(dataset)
