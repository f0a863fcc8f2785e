"""Drafts the pretrain job of a data set: which of its modalities are aligned, and at what size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from omnimat.base.errors import UserError
from omnimat.job.drafts.holdings import Holdings
from omnimat.job.drafts.sizes import MOST_ATOMS_FOR_SUMS, preset, pretrain_sizes
from omnimat.job.drafts.text import filled
from omnimat.materials.values import LabelKind

_LEAST_SHARE = 0.1
"""Part of the training records that must have a modality."""
_FEWEST = 4
_ANCHOR = "structure"


@dataclass(frozen=True, slots=True)
class Views:
    """What is trained.

    Attributes:
        modalities: the modalities that are aligned, in the order of the registry.
        is_alone: whether there is only one, so that nothing can be aligned and the run only says
            how its encoder is built.
    """

    modalities: tuple[str, ...]
    is_alone: bool


def run_name(dataset: str) -> str:
    """Name the pretraining run of a data set."""
    return f"{dataset}-aligned"


def chosen_views(held: Holdings) -> Views:
    """Choose the modalities that a tenth of the training records have.

    Raises:
        UserError: there are too few training records, or none has a modality.
    """
    if held.num_train < _FEWEST:
        raise UserError(
            f"data set {held.name} has {held.num_train} training records, and at least {_FEWEST} "
            "are needed; ingest more materials"
        )
    least = max(_FEWEST, _LEAST_SHARE * held.num_train)
    chosen = tuple(name for name, one in held.views.items() if one.get("train", 0) >= least)
    if not chosen:
        told = ", ".join(f"{name} {one.get('train', 0)}" for name, one in held.views.items())
        raise UserError(
            f"data set {held.name}: no modality is known for a tenth of its {held.num_train} "
            f"training records ({told or 'none at all'}); ingest crystals, formulas, texts or "
            "patterns for more of them"
        )
    return Views(chosen, len(chosen) == 1)


def pretrain_draft(
    held: Holdings, views: Views, needs: Sequence[str], target: tuple[str, LabelKind] | None
) -> str:
    """Write the pretrain job.

    Args:
        held: what the data set holds.
        views: what is trained.
        needs: job files that it needs.
        target: a property and its kind, which stands beside the modality if that is the only one.
    """
    return filled(
        "pretrain",
        held=held,
        name=run_name(held.name),
        needs=needs,
        views=views,
        target=target,
        sizes=pretrain_sizes(held.num_train),
        preset=preset(held.num_train),
        has_large_cells=held.num_atoms > MOST_ATOMS_FOR_SUMS,
        text_source=_text_source(held),
        is_anchored=len(views.modalities) > 3 and _ANCHOR in views.modalities,
    )


def _text_source(held: Holdings) -> str:
    """Take embeddings that the records hold if these are more than the texts."""
    stored, texts = (sum(held.given.get(part, {}).values()) for part in ("text_embedding", "text"))
    return "stored" if stored > texts else "hashed"
