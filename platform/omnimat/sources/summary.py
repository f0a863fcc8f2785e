"""What an ingest says at its end: how much it accepted, and why it refused the rest."""

from __future__ import annotations

from collections.abc import Sequence

_WIDTH = 80
_NUM_EXAMPLES = 2
_MAX_GROUPS = 12


def summary(
    name: str,
    num_accepted: int,
    failures: Sequence[tuple[str, str]],
    remarks: Sequence[str] = (),
) -> str:
    """Tell the outcome of an ingest in lines of at most 80 characters.

    Failures are grouped by what stands before the first colon of their reason. The most frequent
    group comes first.

    Args:
        name: name of the data set.
        num_accepted: how many records were accepted.
        failures: (material id, reason) of what was refused, or of what an accepted record lacks.
        remarks: lines on what the source holds and does not read.
    """
    groups: dict[str, list[str]] = {}
    for material_id, reason in failures:
        groups.setdefault(reason.partition(":")[0].strip(), []).append(f"{material_id}: {reason}")
    lines = [f"{name}: {num_accepted:,} records accepted"]
    if groups:
        lines[0] += f"; {len(failures):,} were refused, or accepted without a part:"
    ordered = sorted(groups.items(), key=lambda group: -len(group[1]))
    for group, found in ordered[:_MAX_GROUPS]:
        lines.append(f"{len(found):>9,}  {group}")
        lines += [f"{'':11}- {one}" for one in found[:_NUM_EXAMPLES]]
    if others := [found for _, found in ordered[_MAX_GROUPS:]]:
        lines.append(f"{sum(map(len, others)):>9,}  for {len(others):,} other reasons")
    return "\n".join(map(_shortened, [*lines, *remarks]))


def _shortened(line: str) -> str:
    """Cut a line, and show what no terminal prints as a question mark."""
    plain = "".join(character if character.isprintable() else "?" for character in line)
    return plain if len(plain) <= _WIDTH else f"{plain[: _WIDTH - 3]}..."
