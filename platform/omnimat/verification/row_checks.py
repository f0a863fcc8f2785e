"""Checks that every row has to pass: of its hashes, its files and its seed among others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from omnimat.base.settings import fingerprint
from omnimat.leaderboard.columns import board_of
from omnimat.leaderboard.row import Row
from omnimat.leaderboard.stored_row import StoredRow
from omnimat.verification.dataset import check_of_row
from omnimat.verification.evidence import Evidence
from omnimat.verification.outcome import Remark, UnreachableError


def check_identity(stored: StoredRow, row: Row) -> Iterator[Remark]:
    """Compare the ids that a row is stored under with the hashes that they should be."""
    board = "task, metric, unit, direction, data set, split"
    for name, there, hashed in (
        ("row_id", row.row_id, "task, metric, model, variant, seed, data set, split, config"),
        ("group_id", row.group_id, f"{board}, model, variant, config"),
        ("board_id", board_of(row).board_id, board),
    ):
        if (said := getattr(stored, name)) != there:
            yield f"{name} {said} is not {there}, the hash of {hashed}: one of them was edited"


def check_config(row: Row) -> Iterator[Remark]:
    """Compare the configuration with its hash."""
    if row.config_hash != fingerprint(row.config):
        yield (
            f"config_hash {row.config_hash} is not the hash of config, which is "
            f"{fingerprint(row.config)}: config was edited"
        )


def check_predictions_file(row: Row, evidence: Evidence) -> Iterator[Remark]:
    """Compare the file of predictions with its hash."""
    if not row.predictions_uri:
        yield "predictions_uri is empty: nothing to compute the value from"
        return
    yield from _differs(row, "predictions", evidence.predictions(row).sha256)


def check_checkpoint(row: Row, evidence: Evidence) -> Iterator[Remark]:
    """Compare the checkpoint with its hash; a model need not have one."""
    if row.checkpoint_uri or row.checkpoint_sha256:
        there = evidence.sha256(row.checkpoint_uri, "checkpoint_uri")
        yield from _differs(row, "checkpoint", there)


def check_dataset_of(row: Row, evidence: Evidence) -> Iterator[Remark]:
    """Compare the data set and its split with what the row says about them."""
    yield from check_of_row(row, evidence.dataset(row))


def check_seeds(rows: Mapping[str, Row], evidence: Evidence) -> Iterator[tuple[str, Remark]]:
    """Check that among rows that are averaged no seed repeats, and no result has two seeds.

    Args:
        rows: the rows by the id that they are stored under.
        evidence: where their files lie.

    Yields:
        The id of a row and what is wrong with it.
    """
    groups: dict[str, list[str]] = {}
    for row_id, row in rows.items():
        groups.setdefault(row.group_id, []).append(row_id)
    for members in groups.values():
        its = [rows[one] for one in members]
        seeds = [f"seed {row.seed}" for row in its]
        yield from _repeated(members, seeds, seeds)
        # A deterministic fit may predict the same with every seed, but never in the same file, nor
        # from the same weights.
        places = [_place(row, evidence) for row in its]
        yield from _repeated(members, places, [row.predictions_uri for row in its])
        hashes = [_hashes(row) for row in its]
        yield from _repeated(members, hashes, ["the hash of predictions and checkpoint"] * len(its))


def _place(row: Row, evidence: Evidence) -> str:
    """Give the place of the predictions, or the name itself where it leads outside."""
    try:
        return evidence.place(row.predictions_uri, "predictions_uri")
    except UnreachableError:
        return row.predictions_uri


def _hashes(row: Row) -> str:
    pair = (row.predictions_sha256, row.checkpoint_sha256)
    return " ".join(pair) if all(pair) else ""


def _repeated(
    members: Sequence[str], values: Sequence[str], told: Sequence[str]
) -> Iterator[tuple[str, Remark]]:
    counts = Counter(value for value in values if value)
    for row_id, value, what in zip(members, values, told, strict=True):
        if counts[value] > 1:
            yield row_id, f"{what} is that of {counts[value]} rows that are averaged as seeds"


def _differs(row: Row, name: str, there: str) -> Iterator[Remark]:
    uri, said = getattr(row, f"{name}_uri"), getattr(row, f"{name}_sha256")
    if there != said:
        yield f"{uri}: {name}_sha256 is {there[:16]}, the row says {said[:16]}"
