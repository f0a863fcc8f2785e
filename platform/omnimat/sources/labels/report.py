"""What became of the labels of an ingest: a file beside the manifest, and lines for the screen."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.files import write_atomically
from omnimat.materials.record import safe_id
from omnimat.sources.labels.cells import Unusable
from omnimat.sources.labels.matching import Labels
from omnimat.sources.merge import ShardReport

LABELS_NAME = "labels.jsonl"
# What a line of the file tells.
LOST_ID, LOST_RECORD = "id without a record", "record without labels"
SHARED_ID, LEFT_OUT = "id of several records", "label left out"

_NUM_EXAMPLES = 3


def report_labels(
    labels: Labels | None, reports: Sequence[ShardReport], destination: UPath
) -> list[str]:
    """Write ``labels.jsonl``, with a line for each label, id and record that found no partner.

    Args:
        labels: the labels; None where there are none, and then no file is written.
        reports: reports of all shards.
        destination: folder of the data set.

    Returns:
        Lines that tell the user what was joined and what was not, with counts and examples.

    Raises:
        UserError: no label belongs to any record.
    """
    path = destination / LABELS_NAME
    if labels is None:
        path.unlink(missing_ok=True)  # a stopped ingest of other settings may have left it
        return []
    ids = {record: found for report in reports for record, found in report.label_ids.items()}
    matched = {record: found for record, found in ids.items() if found is not None}
    if ids and not matched:
        raise _nothing_matches(labels, sorted(ids))
    refused = {record for report in reports for record, _ in report.failures}
    lines = [
        *_lost_ids(labels, set(matched.values()), refused),
        *({"what": LOST_RECORD, "material_id": record} for record in sorted(ids.keys() - matched)),
        *_shared_ids(matched),
        *_left_out(labels),
    ]
    write_atomically(path, "".join(f"{json.dumps(line)}\n" for line in lines).encode())
    replaced = sum((Counter(report.replaced_properties) for report in reports), Counter[str]())
    told = [
        f"{len(matched)} of {len(ids)} records have labels of {', '.join(labels.files)}",
        *_label_by_label(labels, Counter(matched.values())),
        *_counts(labels),
        *_found(lines),
        *(
            f"{name} stands for what the source says, in {n} records"
            for name, n in replaced.items()
        ),
        f"the whole list: {path}",
    ]
    return [f"labels: {line}" for line in told]


def _nothing_matches(labels: Labels, records: Sequence[str]) -> UserError:
    theirs, ours = (" and ".join(map(repr, some[:2])) for some in (list(labels.rows), records))
    return UserError(
        f"labels.id: no row of {', '.join(labels.files)} belongs to a record: its ids are such as "
        f"{theirs}, those of the records {ours}; name the column with the ids of the records or "
        "the names of their files"
    )


def _lost_ids(labels: Labels, found: set[str], refused: set[str]) -> Iterator[dict[str, str]]:
    for label_id in sorted(labels.rows.keys() - found):
        reason = "no record has this id or is of a file of this name"
        if rivals := labels.rivals(label_id):
            reason = f"as a material id it is the same as {', '.join(map(repr, rivals))}"
        elif safe_id(label_id) in refused:
            reason = "its material was refused"
        yield {"what": LOST_ID, "id": label_id, "reason": reason}


def _shared_ids(matched: Mapping[str, str]) -> Iterator[dict[str, str]]:
    records: dict[str, list[str]] = {}
    for record, label_id in matched.items():
        records.setdefault(label_id, []).append(record)
    for label_id, members in sorted(records.items()):
        if len(members) > 1:
            reason = f"it labels {', '.join(sorted(members))}"
            yield {"what": SHARED_ID, "id": label_id, "reason": reason}


def _left_out(labels: Labels) -> Iterator[dict[str, str]]:
    for label_id, row in sorted(labels.rows.items()):
        for name, value in row.items():
            if isinstance(value, Unusable):
                yield {"what": LEFT_OUT, "id": label_id, "label": name, "reason": value.reason}


def _label_by_label(labels: Labels, num_records: Mapping[str, int]) -> Iterator[str]:
    known: Counter[str] = Counter()
    for label_id, times in num_records.items():
        known.update(dict.fromkeys(labels.usable(label_id), times))
    for name, kind in labels.kinds.items():
        unusable = sum(isinstance(row.get(name), Unusable) for row in labels.rows.values())
        yield (
            f"{name} ({'classes' if kind == 'class' else 'numbers'}): known for {known[name]} "
            f"records; of the table's cells {labels.num_unknown[name]} are empty, "
            f"{unusable} cannot be used"
        )


def _counts(labels: Labels) -> Iterator[str]:
    if labels.takes_all_columns:
        yield "columns is left out, so every column of the table but its ids was taken"
    if labels.num_repeated:
        yield f"{labels.num_repeated} rows repeat an id, with the same labels"
    if labels.num_without_id:
        yield f"{labels.num_without_id} rows have no id"


def _found(lines: Iterable[Mapping[str, str]]) -> Iterator[str]:
    """Count the lines of each kind, and give the first of them."""
    kinds: dict[str, list[str]] = {}
    for line in lines:
        values = [value for key, value in line.items() if key != "what"]
        kinds.setdefault(line["what"], []).append(": ".join(values))
    for what, found in kinds.items():
        more = f"; and {len(found) - _NUM_EXAMPLES} more" * (len(found) > _NUM_EXAMPLES)
        yield f"{what}, {len(found)}: {'; '.join(found[:_NUM_EXAMPLES])}{more}"
