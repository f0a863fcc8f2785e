"""Verification of a leaderboard: every row is computed again, and only then marked.

What holds for every row is checked here. The rest is up to the section that the row names, which
the caller finds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from omnimat import __version__
from omnimat.base.errors import UserError
from omnimat.base.provenance import code_commit
from omnimat.base.retry import reason
from omnimat.base.workspace import Workspace
from omnimat.leaderboard.row import Row
from omnimat.leaderboard.store import LeaderboardStore, StoredRow
from omnimat.verification.evidence import Evidence
from omnimat.verification.outcome import (
    FaultError,
    Note,
    Outcome,
    Remark,
    UnreachableError,
    Verdict,
)
from omnimat.verification.row_checks import (
    check_checkpoint,
    check_config,
    check_dataset_of,
    check_identity,
    check_predictions_file,
    check_seeds,
)

Check = Callable[[Row, Evidence], Iterable[Remark]]
"""Says what is wrong with a row; each sentence names the file and what differs.

It raises ``FaultError`` where so much is wrong that there is nothing further to check, and
``UnreachableError`` where it lacks something that it needs.
"""
Recomputations = Callable[[str], Check]
"""Gives the check that computes the rows of a section again, by the name that rows have for it.

It raises ``UnreachableError`` where no section of this name is installed.
"""
_OF_ANY_ROW: tuple[Check, ...] = (check_predictions_file, check_checkpoint, check_dataset_of)


def verify(
    store: LeaderboardStore,
    workspace: Workspace,
    recomputations: Recomputations,
    *,
    task: str | None = None,
    run_name: str | None = None,
    track: Callable[[Sequence[StoredRow]], Iterable[StoredRow]] = iter,
) -> list[Outcome]:
    """Compute rows again from predictions, split and data set, and mark those that hold.

    No number is ever changed: a row that fails stays as it is, whether it was verified before or
    not. A row is marked as soon as it is proven.

    Args:
        store: where the rows are.
        workspace: where the data sets are of rows that do not say where theirs lies.
        recomputations: finds who computes a row again.
        task: selects the rows of this task.
        run_name: selects the rows of this run.
        track: iterates over the rows, and may show progress.

    Returns:
        The outcome for each row.
    """
    of_task = store.stored(task=task)
    chosen = [one for one in of_task if run_name in {None, one.values["run_name"]}]
    # The rows of one run alone would not show that another run claims the same seed.
    repeated = _repeated_seeds(of_task)
    evidence, verifier = Evidence(workspace), _verifier()
    checks = (*_OF_ANY_ROW, lambda row, evidence: recomputations(row.section)(row, evidence))
    outcomes = {}
    for stored in track(sorted(chosen, key=_file)):
        known = repeated.get(stored.row_id, ())
        outcome = check_row(stored, evidence, checks, known)
        outcomes[stored.row_id] = _marked(store, stored, outcome, verifier)
    return [outcomes[stored.row_id] for stored in chosen]


def check_row(
    stored: StoredRow, evidence: Evidence, checks: Iterable[Check], known: Iterable[Remark]
) -> Outcome:
    """Check one row; what is known about it already counts too."""
    was_verified = stored.values.get("status") == "verified"
    try:
        row = stored.row()
    except UserError as error:
        label = f"{stored.values.get('task')}, {stored.values.get('metric')}"
        verdict: Verdict = "tampered" if was_verified else "failed"
        return Outcome(stored.row_id, label, verdict, (str(error),))
    remarks = [*known, *check_identity(stored, row), *check_config(row)]
    unreachable = []
    for check in checks:
        try:
            for remark in check(row, evidence):
                remarks.append(remark)  # one by one, so that those before an error count
        except FaultError as error:
            remarks.append(str(error))
        except UnreachableError as error:
            unreachable.append(str(error))
        # A row may hold anything, but must not keep the others from being checked.
        except Exception as error:  # noqa: BLE001
            unreachable.append(f"it cannot be checked by this omnimat: {reason(error)}")
    faults = [one for one in remarks if isinstance(one, str)]
    notes = [one.text for one in remarks if isinstance(one, Note)]
    if faults:
        verdict = "tampered" if was_verified else "failed"
        return Outcome(stored.row_id, row.label, verdict, _once([*faults, *unreachable]), notes)
    verdict = "unverifiable" if unreachable else "verified"
    return Outcome(stored.row_id, row.label, verdict, _once(unreachable), notes)


def _file(stored: StoredRow) -> str:
    """Order rows so that those of one file follow each other, and it is read only once."""
    return str(stored.values["predictions_uri"])


def _repeated_seeds(all_stored: Iterable[StoredRow]) -> dict[str, list[Remark]]:
    found: dict[str, list[Remark]] = {}
    for row_id, remark in check_seeds(dict(_readable(all_stored))):
        found.setdefault(row_id, []).append(remark)
    return found


def _readable(all_stored: Iterable[StoredRow]) -> Iterator[tuple[str, Row]]:
    for stored in all_stored:
        try:
            yield stored.row_id, stored.row()
        except UserError:  # which check_row reports
            continue


def _once(sentences: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(sentences))


def _marked(store: LeaderboardStore, stored: StoredRow, outcome: Outcome, by: str) -> Outcome:
    """Mark a proven row at once, so that whoever stops here keeps what was proven."""
    if outcome.verdict != "verified" or stored.values["status"] == "verified":
        return outcome
    if store.mark_verified([stored.row()], by):
        return outcome
    sentence = "another result was written under this id meanwhile; verify again"
    return replace(outcome, verdict="unverifiable", sentences=(sentence,))


def _verifier() -> str:
    commit, is_dirty = code_commit()
    return f"omnimat {__version__}, commit {commit}{' with changes' if is_dirty else ''}"
