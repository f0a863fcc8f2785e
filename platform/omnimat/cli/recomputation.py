"""Who checks a row: the section of an evaluation that it names, fine-tuning, or an import."""

from __future__ import annotations

from omnimat.evaluation.settings import section_of
from omnimat.finetune import ensemble_checks as ensemble
from omnimat.finetune import recompute as finetune
from omnimat.finetune import rerun as finetune_rerun
from omnimat.finetune.imported import recompute as imported
from omnimat.finetune.rows import SECTION
from omnimat.leaderboard.imported import IMPORTED
from omnimat.leaderboard.members import ENSEMBLE
from omnimat.verification.rerun import Sample
from omnimat.verification.verify import Check

_RECOMPUTE = {
    SECTION: finetune.recompute,
    ENSEMBLE: ensemble.recompute,
    IMPORTED: imported.recompute,
}
_RERUN = {SECTION: finetune_rerun.rerun, ENSEMBLE: ensemble.rerun, IMPORTED: imported.rerun}


def recomputation(section: str) -> Check:
    """Find the check by the name that rows have for their section.

    Raises:
        UnreachableError: if the section is not installed.
    """
    return _RECOMPUTE.get(section) or section_of(section).recompute


def rerun(section: str, sample: Sample) -> Check:
    """Find who runs the checkpoint of a row again.

    Raises:
        UnreachableError: if the section is not installed.
    """
    run = _RERUN.get(section) or section_of(section).rerun
    return lambda row, evidence: run(row, evidence, sample)
