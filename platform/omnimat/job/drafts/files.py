"""The job files that ``omnimat init`` and ``omnimat finetune`` write for a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from omnimat.base.errors import UserError
from omnimat.base.workspace import Workspace
from omnimat.job.drafts.finetune import Start, Target, chosen_target, finetune_draft
from omnimat.job.drafts.holdings import Holdings, holdings
from omnimat.job.drafts.kept import known_ingest, units_in
from omnimat.job.drafts.pretrain import chosen_views, pretrain_draft
from omnimat.job.drafts.text import overridden
from omnimat.job.drafts.tuning import Tuning, compared


def tuning_jobs(
    held: Holdings,
    start: Start,
    target: Target,
    tuning: Tuning,
    needs: Sequence[str],
    name: str,
    overrides: Sequence[str] = (),
) -> dict[str, str]:
    """Draft the jobs that tune a packed model.

    Args:
        held: what the data set holds.
        start: the model.
        target: what is predicted.
        tuning: how.
        needs: the job file of the data set, if it is known.
        name: name of the run.
        overrides: ``key.key=value``, which replace what is drafted, in both.

    Returns:
        The text of each file by its name: of the folds, if there are any, and of the run.

    Raises:
        UserError: an override is none, or one of a key that an option sets.
    """
    for key, option in (("name", "--name"), ("folds", "--folds")):
        if any(one.partition("=")[0].partition(".")[0] == key for one in overrides):
            raise UserError(f"--set {key}: give it by {option}")
    files: dict[str, str] = {}
    if tuning.num_folds:
        folds = replace(tuning, seeds=tuning.seeds[:1])
        text = finetune_draft(held, start, target, folds, needs, f"{name}-folds")
        files[f"{name}-folds.yaml"] = overridden(text, overrides)
    alone = replace(tuning, num_folds=0)
    text = finetune_draft(held, start, target, alone, [*needs, *files], name)
    return {**files, f"{name}.yaml": overridden(text, overrides)}


def first_jobs(workspace: Workspace, dataset: str, target: str | None = None) -> dict[str, str]:
    """Draft the first jobs of a data set.

    Args:
        workspace: where the data set lies.
        dataset: its name.
        target: what to predict; None for the label that most records have.

    Returns:
        The text of each file by its name; ``ingest.yaml`` is left out if nobody knows how the data
        set was made.

    Raises:
        UserError: there is no such data set, or it does not hold what the jobs need.
    """
    held = holdings(workspace, dataset)
    ingest = known_ingest(workspace, dataset)
    held = replace(held, units=units_in(ingest))
    views = chosen_views(held)
    target = chosen_target(held, target)
    files = {} if ingest is None else {"ingest.yaml": ingest}
    label = (target, held.kinds[target]) if views.is_alone else None
    files["pretrain.yaml"] = pretrain_draft(held, views, list(files), label)
    start = Start.of_views(dataset, views)
    tuning = compared(held.properties[target]["train"], is_pretrained=start.is_pretrained)
    files["finetune.yaml"] = finetune_draft(
        held, start, Target(target, held.units.get(target, "")), tuning, ["pretrain.yaml"]
    )
    return files
