"""What a data set holds, as a table for people."""

from __future__ import annotations

from rich.table import Table

from omnimat.job.drafts.holdings import OF_THE_STRUCTURE, Counts, Holdings
from omnimat.materials.split import SPLITS


def overview(held: Holdings, num_failures: int) -> Table:
    """Count the records of a data set by modality, label and split.

    Args:
        held: what the data set holds.
        num_failures: how many items or parts of items were refused.
    """
    table = Table(
        title=f"{held.name}: {sum(held.records.values())} records, {num_failures} refused"
    )
    table.add_column("")
    for column in ("all", *SPLITS):
        table.add_column(column, justify="right")
    table.add_row("records", *_numbers(held.records), end_section=True)
    for name, counts in held.views.items():
        derived = name != "structure" and held.is_derived(name)
        table.add_row(f"{name} (mostly from the structure)" if derived else name, *_numbers(counts))
    table.add_section()
    labels = sorted(held.properties, key=lambda name: name in OF_THE_STRUCTURE)
    for name, counts in ((name, held.properties[name]) for name in labels):
        kind = held.kinds.get(name)
        table.add_row(f"{name} ({kind})" if kind else name, *_numbers(counts))
    return table


def _numbers(counts: Counts) -> list[str]:
    by_split = [counts.get(split, 0) for split in SPLITS]
    return [f"{number:,}" for number in (sum(by_split), *by_split)]
