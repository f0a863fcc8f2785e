"""Verification of a leaderboard: every row is computed again, and only then marked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from omnimat import __version__
from omnimat.base.errors import UserError
from omnimat.base.provenance import code_commit
from omnimat.base.retry import reason
from omnimat.base.workspace import Workspace
from omnimat.leaderboard.row import Row
from omnimat.leaderboard.store import LeaderboardStore, StoredRow
from omnimat.verification.clusters import check_clusters, is_of_clusters
from omnimat.verification.discovery import check_discovery, is_of_discovery
from omnimat.verification.evidence import Evidence
from omnimat.verification.outcome import (
    FaultError,
    Finding,
    Note,
    Outcome,
    UnreachableError,
    Verdict,
)
from omnimat.verification.properties import check_properties, is_of_properties
from omnimat.verification.retrieval import check_retrieval, is_of_retrieval
from omnimat.verification.row_checks import (
    check_checkpoint,
    check_config,
    check_dataset_of,
    check_identity,
    check_predictions_file,
    check_seeds,
)
from omnimat.verification.zero_shot import check_zero_shot, is_of_zero_shot

Check = Callable[[Row, Evidence], Iterator[Finding]]


@dataclass(frozen=True, slots=True)
class Kind:
    """How rows of one shape are computed again.

    Attributes:
        applies: tells them by what they hold.
        check: gives what is wrong with one, in sentences that name the file and what differs;
            raises ``FaultError`` where it is so wrong that there is nothing more to check, and
            ``UnreachableError`` where something is missing.
    """

    applies: Callable[[Row], bool]
    check: Check


# The first that applies is asked. A new kind of result is proven by a line here.
KINDS: tuple[Kind, ...] = (
    Kind(is_of_retrieval, check_retrieval),
    Kind(is_of_clusters, check_clusters),
    Kind(is_of_zero_shot, check_zero_shot),
    Kind(is_of_discovery, check_discovery),
    Kind(is_of_properties, check_properties),
)
_OF_ANY_KIND: tuple[Check, ...] = (check_predictions_file, check_checkpoint, check_dataset_of)


def verify(
    store: LeaderboardStore,
    workspace: Workspace,
    *,
    task: str | None = None,
    run_name: str | None = None,
    track: Callable[[Sequence[StoredRow]], Iterable[StoredRow]] = iter,
) -> list[Outcome]:
    """Compute rows again from predictions, split and data set, and mark those that hold.

    It never changes a number: a row that fails stays as it is, verified before or not. Each row is
    marked when it is proven.

    Args:
        store: of the rows.
        workspace: holds the data sets of rows that do not say where theirs lies.
        task: of this one alone.
        run_name: of this one alone.
        track: goes through the rows, and may show how far it is.

    Returns:
        One outcome a row.
    """
    of_task = store.stored(task=task)
    chosen = [one for one in of_task if run_name in {None, one.values["run_name"]}]
    # A run alone would not show that another claims the same seed.
    repeated = _repeated_seeds(of_task)
    evidence, verifier = Evidence(workspace), _verifier()
    outcomes = {}
    for stored in track(sorted(chosen, key=_file)):
        outcome = check_row(stored, evidence, repeated.get(stored.row_id, ()))
        outcomes[stored.row_id] = _marked(store, stored, outcome, verifier)
    return [outcomes[stored.row_id] for stored in chosen]


def check_row(stored: StoredRow, evidence: Evidence, known: Iterable[Finding] = ()) -> Outcome:
    """Check one row; what is known of it already counts too."""
    was_verified = stored.values.get("status") == "verified"
    try:
        row = stored.row()
    except UserError as error:
        label = f"{stored.values.get('task')}, {stored.values.get('metric')}"
        verdict: Verdict = "tampered" if was_verified else "failed"
        return Outcome(stored.row_id, label, verdict, (str(error),))
    findings = [*known, *check_identity(stored, row), *check_config(row)]
    unreachable = []
    for check in (*_OF_ANY_KIND, _check_of(row)):
        try:
            for finding in check(row, evidence):
                findings.append(finding)  # so that those before an error count
        except FaultError as error:
            findings.append(str(error))
        except UnreachableError as error:
            unreachable.append(str(error))
        # A row may hold anything, and must not keep the others from being checked.
        except Exception as error:  # noqa: BLE001
            unreachable.append(f"it cannot be checked by this omnimat: {reason(error)}")
    faults = [one for one in findings if isinstance(one, str)]
    notes = [one.text for one in findings if isinstance(one, Note)]
    if faults:
        verdict = "tampered" if was_verified else "failed"
        return Outcome(stored.row_id, row.label, verdict, _once([*faults, *unreachable]), notes)
    verdict = "unverifiable" if unreachable else "verified"
    return Outcome(stored.row_id, row.label, verdict, _once(unreachable), notes)


def _check_of(row: Row) -> Check:
    return next((kind.check for kind in KINDS if kind.applies(row)), _unknown)


def _unknown(row: Row, evidence: Evidence) -> Iterator[Finding]:
    del evidence
    raise UnreachableError(f"no check is known for the metric {row.metric!r} of {row.task!r}")


def _file(stored: StoredRow) -> str:
    """Order rows so that those of one file are checked one after another, and it is read once."""
    return str(stored.values["predictions_uri"])


def _repeated_seeds(all_stored: Iterable[StoredRow]) -> dict[str, list[Finding]]:
    found: dict[str, list[Finding]] = {}
    for row_id, finding in check_seeds(dict(_readable(all_stored))):
        found.setdefault(row_id, []).append(finding)
    return found


def _readable(all_stored: Iterable[StoredRow]) -> Iterator[tuple[str, Row]]:
    for stored in all_stored:
        try:
            yield stored.row_id, stored.row()
        except UserError:  # reported by check_row
            continue


def _once(sentences: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(sentences))


def _marked(store: LeaderboardStore, stored: StoredRow, outcome: Outcome, by: str) -> Outcome:
    """Mark a proven row at once: whoever ends this early keeps what was proven."""
    if outcome.verdict != "verified" or stored.values["status"] == "verified":
        return outcome
    if store.mark_verified([stored.row()], by):
        return outcome
    sentence = "another result was written under this id meanwhile; verify again"
    return replace(outcome, verdict="unverifiable", sentences=(sentence,))


def _verifier() -> str:
    commit, is_dirty = code_commit()
    return f"omnimat {__version__}, commit {commit}{' with changes' if is_dirty else ''}"
