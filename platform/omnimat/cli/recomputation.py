"""Who checks a row: the section of an evaluation that it names, or fine-tuning."""

from __future__ import annotations

from omnimat.evaluation.settings import section_of
from omnimat.finetune.recompute import recompute
from omnimat.finetune.rerun import rerun as finetune_rerun
from omnimat.finetune.rows import SECTION
from omnimat.verification.rerun import Sample
from omnimat.verification.verify import Check


def recomputation(section: str) -> Check:
    """Find the check by the name that rows have for their section.

    Raises:
        UnreachableError: if the section is not installed.
    """
    return recompute if section == SECTION else section_of(section).recompute


def rerun(section: str, sample: Sample) -> Check:
    """Find who runs the checkpoint of a row again.

    Raises:
        UnreachableError: if the section is not installed.
    """
    run = finetune_rerun if section == SECTION else section_of(section).rerun
    return lambda row, evidence: run(row, evidence, sample)
