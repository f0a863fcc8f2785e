"""Whether a job may judge encoders, as far as files tell before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from omnimat.base.workspace import EXPORT, Workspace
from omnimat.evaluation.settings import DownstreamSettings
from omnimat.job.held_out import is_ingested
from omnimat.job.job import Job
from omnimat.job.kinds.pretrain import PretrainJob

if TYPE_CHECKING:
    from omnimat.evaluation.leakage import Judging
    from omnimat.finetune.settings import FinetuneSettings
    from omnimat.models.export import Card
    from omnimat.training.seen import Pretraining


def find_leakage_early(
    settings: DownstreamSettings,
    workspace: Workspace,
    needed: Sequence[Job[Any]],
    judging_of: Callable[[Collection[str]], Judging],
) -> list[str]:
    """Refuse what must not be judged, and say what pretraining sees of the rest by formula.

    Nothing is found as long as a data set is missing, or the run is neither there nor among the
    jobs before.

    Args:
        settings: the settings of the job.
        workspace: where it reads.
        needed: the jobs that run before it.
        judging_of: what encoders of these modalities are judged by.

    Raises:
        UserError: as ``evaluation.leakage.find_leakage``.
    """
    from omnimat.evaluation.leakage import formula_overlap, refuse_inputs, refuse_seen
    from omnimat.models.inputs import read_cards
    from omnimat.training.seen import Pretraining, pretraining_of

    if not is_ingested(workspace, settings.dataset):
        return []
    if (workspace.run(settings.run) / EXPORT).exists():
        cards = read_cards(workspace.run(settings.run))
        return _told(
            cards, lambda: pretraining_of(workspace, settings.run, cards), judging_of(tuple(cards))
        )
    before = [one for one in needed if isinstance(one, PretrainJob) and one.name == settings.run]
    if not before or not before[0].is_ingested:
        return []
    modalities = before[0].settings.modalities
    every = modalities.featurizers()
    featurizers = {name: every[name] for name in modalities.encoders()}
    judging = judging_of(tuple(featurizers))
    refuse_inputs(featurizers, judging.properties)
    pretraining = Pretraining.planned(before[0].plan)
    refuse_seen(pretraining, judging)
    return [formula_overlap(pretraining, judging)]


def find_leakage_of_package(
    settings: FinetuneSettings,
    workspace: Workspace,
    judging_of: Callable[[Collection[str]], Judging],
) -> list[str]:
    """Do the same for encoders that come in a package, and for what is added to them.

    Args:
        settings: the settings of the job.
        workspace: where its data set lies.
        judging_of: what encoders of these modalities are judged by.
    """
    from omnimat.inference.start import cards_with, opened, seen_by

    if not is_ingested(workspace, settings.dataset):
        return []
    package = opened(settings.model)
    cards = cards_with(package, settings.added)
    name = package.card.name
    return _told(cards, lambda: seen_by(package).pretraining(name), judging_of(tuple(cards)))


def _told(
    cards: Mapping[str, Card], find: Callable[[], Pretraining], judging: Judging
) -> list[str]:
    """Refuse what must not be judged, and say what was seen of the rest."""
    from omnimat.evaluation.leakage import formula_overlap, refuse_shown
    from omnimat.training.seen import UnknownPretrainingError

    try:
        return [formula_overlap(refuse_shown(cards, find, judging), judging)]
    except UnknownPretrainingError as error:
        return [str(error)]
