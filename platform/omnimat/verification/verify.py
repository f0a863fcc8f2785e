"""Verification of a leaderboard: every row is checked, and only then marked.

What holds for every row is checked here. The rest is up to the section that the row names, which
the caller finds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from omnimat import __version__
from omnimat.base.confined import Confined
from omnimat.base.errors import UserError
from omnimat.base.provenance import code_commit
from omnimat.base.retry import reason
from omnimat.leaderboard.row import STATUSES, Row
from omnimat.leaderboard.store import LeaderboardStore
from omnimat.leaderboard.stored_row import StoredRow
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
Checks = Callable[[str], Check]
"""Gives the check for the rows of a section, by the name that rows have for it.

It raises ``UnreachableError`` where no section of this name is installed.
"""
_, *_CHECKED = STATUSES
_OF_ANY_ROW: tuple[Check, ...] = (check_predictions_file, check_checkpoint, check_dataset_of)


def verify(
    store: LeaderboardStore,
    storage: Confined,
    recomputations: Checks,
    *,
    reruns: Checks | None = None,
    task: str | None = None,
    run_name: str | None = None,
    track: Callable[[Sequence[StoredRow]], Iterable[StoredRow]] = iter,
) -> list[Outcome]:
    """Compute rows again from predictions, split and data set, and mark those that hold.

    No number is ever changed: a row that fails stays as it is, whether it was checked before or
    not. A row is marked as soon as it is proven. Only files of the storage are opened.

    Args:
        store: where the rows are.
        storage: where the files are that rows name.
        recomputations: finds who computes a row again from its files.
        reruns: finds who makes these files again with the row's checkpoint; None if that is not
            asked for.
        task: selects the rows of this task.
        run_name: selects the rows of this run.
        track: iterates over the rows, and may show progress.

    Returns:
        The outcome for each row.
    """
    of_task = store.stored(task=task)
    chosen = [one for one in of_task if run_name in {None, one.values["run_name"]}]
    evidence, verifier = Evidence(storage), _verifier()
    # The rows of one run alone would not show that another run claims the same seed.
    repeated = _repeated_seeds(of_task, evidence)
    checks = (*_OF_ANY_ROW, _by_section(recomputations))
    rerun = None if reruns is None else _by_section(reruns)
    outcomes = {}
    for stored in track(sorted(chosen, key=_file)):
        known = repeated.get(stored.row_id, ())
        outcome = check_row(stored, evidence, checks, known, rerun)
        outcomes[stored.row_id] = _marked(store, stored, outcome, verifier)
    return [outcomes[stored.row_id] for stored in chosen]


def check_row(
    stored: StoredRow,
    evidence: Evidence,
    checks: Iterable[Check],
    known: Iterable[Remark],
    rerun: Check | None = None,
) -> Outcome:
    """Check one row; what is known about it already counts too.

    Args:
        stored: the row.
        evidence: where its files are read from.
        checks: those that it must pass.
        known: faults and notes of before.
        rerun: makes its files again, once all else has passed.
    """
    fault: Verdict = "tampered" if stored.values.get("status") in _CHECKED else "failed"
    try:
        row = stored.row()
    except UserError as error:
        label = f"{stored.values.get('task')}, {stored.values.get('metric')}"
        return Outcome(stored.row_id, label, fault, (str(error),))
    found = _Found([*known, *check_identity(stored, row), *check_config(row)])
    found.add(row, evidence, checks)
    verdict: Verdict = "unverifiable" if found.unreachable else "recomputed"
    is_not_rerun = False
    if rerun is not None and not (found.faults or found.unreachable):
        again = _Found([])
        again.add(row, evidence, [rerun])
        found.remarks += [*again.remarks, *(Note(f"not run again: {s}") for s in again.unreachable)]
        is_not_rerun = bool(again.unreachable)
        verdict = "recomputed" if is_not_rerun else "reproduced"
    sentences = _once([*found.faults, *found.unreachable])
    verdict = fault if found.faults else verdict
    return Outcome(stored.row_id, row.label, verdict, sentences, found.notes, is_not_rerun)


@dataclass(slots=True)
class _Found:
    """What checks have to say about a row.

    Attributes:
        remarks: faults and notes.
        unreachable: a sentence for each check that could not be made.
    """

    remarks: list[Remark]
    unreachable: list[str] = field(default_factory=list)

    def add(self, row: Row, evidence: Evidence, checks: Iterable[Check]) -> None:
        """Make checks."""
        for check in checks:
            try:
                for remark in check(row, evidence):
                    self.remarks.append(remark)  # one by one, so that those before an error count
            except FaultError as error:
                self.remarks.append(str(error))
            except UnreachableError as error:
                self.unreachable.append(str(error))
            # A row may hold anything, but must not keep the others from being checked.
            except Exception as error:  # noqa: BLE001
                self.unreachable.append(f"it cannot be checked by this omnimat: {reason(error)}")

    @property
    def faults(self) -> list[str]:
        return [one for one in self.remarks if isinstance(one, str)]

    @property
    def notes(self) -> list[str]:
        return [one.text for one in self.remarks if isinstance(one, Note)]


def _by_section(checks: Checks) -> Check:
    return lambda row, evidence: checks(row.section)(row, evidence)


def _file(stored: StoredRow) -> str:
    """Order rows so that those of one file follow each other, and it is read only once."""
    return str(stored.values["predictions_uri"])


def _repeated_seeds(all_stored: Iterable[StoredRow], evidence: Evidence) -> dict[str, list[Remark]]:
    found: dict[str, list[Remark]] = {}
    for row_id, remark in check_seeds(dict(_readable(all_stored)), evidence):
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
    status = next((one for one in _CHECKED if one == outcome.verdict), None)
    if status is None or STATUSES.index(stored.values["status"]) >= STATUSES.index(status):
        return outcome
    if store.mark([stored.row()], status, by):
        return outcome
    sentence = "another result was written under this id meanwhile; verify again"
    return replace(outcome, verdict="unverifiable", sentences=(sentence,))


def _verifier() -> str:
    commit, is_dirty = code_commit()
    return f"omnimat {__version__}, commit {commit}{' with changes' if is_dirty else ''}"
