"""Finds the files of a source, and which of them belong to one material.

Files of one folder whose names differ only in their endings belong to one material: ``quartz.cif``,
``quartz.xy`` and ``quartz.txt``. So do the outputs of one calculation, which have the same names in
every folder, so that the folder names the material (``mp-149/CONTCAR``, ``mp-149/vasprun.xml``).
A file that holds many materials (a database, a table of JSON documents) stands alone.
"""

from __future__ import annotations

import functools
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate

from upath import UPath

from omnimat.formats.format import FORMATS, Format, format_of
from omnimat.materials.record import safe_id

_COMPRESSIONS = (".gz", ".bz2", ".xz")
_WILDCARDS = frozenset("*?[")
_MAX_EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class File:
    """A file that can be read.

    Attributes:
        path: where it lies.
        name: its path below the folder of the source, with slashes.
        format: what reads it.
    """

    path: UPath
    name: str
    format: Format

    @property
    def is_of_calculation(self) -> bool:
        """Whether its folder names the material, since files of its name lie in many folders."""
        return _uncompressed(self.path.name).lower() in self.format.names_in_every_folder

    @property
    def stem(self) -> str:
        """Its name without folders and endings; that of its folder if the folder names it."""
        if self.is_of_calculation:
            return self.path.parent.name
        return UPath(_uncompressed(self.path.name)).stem


@dataclass(frozen=True, slots=True)
class Group:
    """The files of one material, or one file of many.

    Attributes:
        material_id: id of the material, or what the ids of a file's entries begin with.
        files: the files, in the order of the formats' table.
        num_items: how many items of the source they are.
    """

    material_id: str
    files: tuple[File, ...]
    num_items: int


@dataclass(frozen=True)
class Listing:
    """What was found.

    Attributes:
        groups: the materials, in the order of their files' names.
        unread: names of the files that no format reads, by ending.
    """

    groups: tuple[Group, ...]
    unread: Mapping[str, tuple[str, ...]]

    @functools.cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(group.num_items for group in self.groups))

    @property
    def num_items(self) -> int:
        """How many items the source has."""
        return self._ends[-1] if self._ends else 0

    def slices(self, start: int, stop: int) -> Iterator[tuple[Group, int, int]]:
        """Give the groups that hold some items, each with the range of its own items."""
        number = bisect_right(self._ends, start)
        while number < len(self.groups) and start < stop:
            group, end = self.groups[number], self._ends[number]
            begin = end - group.num_items
            yield group, start - begin, min(stop, end) - begin
            start, number = end, number + 1

    def described(self) -> list[str]:
        """Say in whole lines which files are not read."""
        lines = []
        for ending, names in sorted(self.unread.items(), key=lambda one: -len(one[1])):
            examples = ", ".join(names[:_MAX_EXAMPLES])
            more = ", ..." if len(names) > _MAX_EXAMPLES else ""
            lines.append(f"not read: {len(names)} {ending} ({examples}{more})")
        return lines


@functools.lru_cache(maxsize=1)
def listing(path: str) -> Listing:
    """List the files of a folder and those below it, of a pattern (``data/**/*.cif``), or one file.

    Every process of an ingest lists them for itself; ``listing.cache_clear()`` looks again.
    """
    root, paths = _found(path)
    files: list[File] = []
    unread: dict[str, list[str]] = defaultdict(list)
    for one in sorted(paths, key=str):
        name = one.path.removeprefix(root.path).lstrip("/") or one.name
        try:
            found = format_of(one)
        except PermissionError:
            unread["files that may not be opened"].append(name)
            continue
        if found is None:
            unread[_ending(one)].append(name)
        else:
            files.append(File(one, name, found))
    groups = list(_groups(files, unread))
    return Listing(tuple(groups), {key: tuple(names) for key, names in unread.items()})


def _found(path: str) -> tuple[UPath, Iterable[UPath]]:
    """Return the folder that names are relative to, and the files."""
    whole = UPath(path)
    parts = whole.parts
    wild = next((i for i, part in enumerate(parts) if _WILDCARDS & set(part)), None)
    if wild is not None:
        root = functools.reduce(lambda folder, _: folder.parent, parts[wild:], whole)
        pattern = "/".join(parts[wild:])
        # In pathlib, a pattern that ends with ** finds folders alone.
        pattern += "/*" if pattern.endswith("**") else ""
        return root, (one for one in root.glob(pattern) if one.is_file())
    if whole.is_dir():
        return whole, (one for one in whole.rglob("*") if one.is_file())
    return whole.parent, [whole]


def _groups(files: Iterable[File], unread: dict[str, list[str]]) -> Iterator[Group]:
    """Join the files of one material; note as unread those that only go with others."""
    together: dict[tuple[str, str], list[File]] = defaultdict(list)
    for file in files:
        alone = file.path.name if file.format.count is not None else file.stem
        together[str(file.path.parent), alone].append(file)
    ids = _ids(together.values())
    order = list(FORMATS.load_all().values())
    for members in together.values():
        if all(file.format.goes_with_others for file in members):
            unread["texts without a material of their name"] += [one.name for one in members]
            continue
        members.sort(key=lambda file: order.index(file.format))
        first = members[0]
        yield Group(ids[first.name], tuple(members), _num_items(first))


def _num_items(file: File) -> int:
    """Count the items of a file; one that cannot be counted is one item, which says why."""
    try:
        return max(1, file.format.num_entries(file.path))
    except (ValueError, PermissionError):
        return 1


def _ids(groups: Iterable[list[File]]) -> dict[str, str]:
    """Name the material of each file: by its stem, with the folders before it if others have it."""
    firsts = [(group, group[0]) for group in groups]
    counts = Counter(safe_id(first.stem) for _, first in firsts)
    ids = {}
    for group, first in firsts:
        short = safe_id(first.stem)
        folder = first.name.rpartition("/")[0]
        whole = short if counts[short] == 1 or not folder else safe_id(_within(folder, first.stem))
        ids.update({file.name: whole for file in group})
    return ids


def _within(folder: str, stem: str) -> str:
    return folder if folder.rpartition("/")[2] == stem else f"{folder}/{stem}"


def _uncompressed(name: str) -> str:
    return next((name[: -len(c)] for c in _COMPRESSIONS if name.lower().endswith(c)), name)


def _ending(path: UPath) -> str:
    plain = UPath(_uncompressed(path.name))
    rest = path.name[len(plain.name) :]
    return f"{plain.suffix}{rest}".lower() or "files without an ending"
