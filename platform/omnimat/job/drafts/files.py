"""The first job files of a data set: what ``omnimat init`` writes."""

from __future__ import annotations

from dataclasses import replace

from omnimat.base.workspace import Workspace
from omnimat.job.drafts.finetune import chosen_target, finetune_draft
from omnimat.job.drafts.holdings import holdings
from omnimat.job.drafts.kept import known_ingest, units_in
from omnimat.job.drafts.pretrain import chosen_views, pretrain_draft


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
    files["finetune.yaml"] = finetune_draft(held, views, ["pretrain.yaml"], target)
    return files
