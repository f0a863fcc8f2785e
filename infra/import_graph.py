"""Prints which room of omnimat imports which, and finds arrows that go up and circles.

Run it with any Python: ``python infra/import_graph.py``. It exits with 1 and a sentence for each
fault. Imports inside functions count; those for type checkers alone do not.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "platform" / "omnimat"

# From the ground up. A room may import from its own floor and from those below it.
FLOORS = (
    ("base",),
    ("materials", "nn"),
    ("modalities", "leaderboard", "cluster"),
    ("shards", "objectives", "formats"),
    ("sources", "stream"),
    ("models", "training", "verification"),
    ("finetune", "evaluation", "search"),
    ("inference", "prediction"),
    ("job",),
    ("cli",),
)
# Conformance suites and helpers of tests, which may look at every room.
BESIDE = ("testing",)
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}

Arrows = Mapping[str, set[str]]


def imported_by(path: Path) -> Iterator[str]:
    """Give the dotted names that a file imports from omnimat."""
    for node in _executed(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("omnimat."))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("omnimat"):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if _file_of(whole) else str(node.module)


def module_graph() -> dict[str, set[str]]:
    """Give, for each module, the modules of omnimat that it imports."""
    graph: dict[str, set[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        targets = {name for name in imported_by(path) if _file_of(name)}
        graph[_name_of(path)] = targets - {_name_of(path)}
    return graph


def room_of(module: str) -> str | None:
    """Give the room a module lies in; None for the package itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else None


def room_graph(modules: Arrows) -> dict[str, set[str]]:
    """Give, for each room, the other rooms that it imports."""
    graph: dict[str, set[str]] = {}
    for module, targets in modules.items():
        if room := room_of(module):
            others = {other for target in targets if (other := room_of(target))}
            graph.setdefault(room, set()).update(others - {room})
    return graph


def faults(modules: Arrows) -> list[str]:
    """List arrows that go up, circles of rooms or files, and rooms without a floor."""
    rooms = room_graph(modules)
    found = [f"{room} has no floor: add it to FLOORS" for room in rooms if room not in _KNOWN]
    for module, targets in modules.items():
        for target in sorted(targets):
            here, there = room_of(module), room_of(target)
            if here in BESIDE or here is None or there is None:
                continue
            if there in BESIDE or FLOOR_OF.get(there, 0) > FLOOR_OF.get(here, 0):
                found.append(f"{module} imports {target}, which lies on a higher floor")
    for what, graph in (("rooms", rooms), ("files", modules)):
        if circle := _circle(graph):
            found.append(f"a circle of {what}: {' -> '.join(circle)}")
    return found


def drawing(modules: Arrows) -> str:
    """Draw the house: a line for each room, the highest floor first."""
    rooms = room_graph(modules)
    sizes: dict[str, int] = {}
    for module in modules:
        if room := room_of(module):
            sizes[room] = sizes.get(room, 0) + 1
    lines = []
    for number in range(len(FLOORS) - 1, -1, -1):
        for room in FLOORS[number]:
            arrows = ", ".join(sorted(rooms.get(room, ()), key=lambda one: -FLOOR_OF.get(one, 0)))
            lines.append(f"{number}  {room:<13}{sizes.get(room, 0):>3} files -> {arrows or '-'}")
    lines.append(f"{len(FLOOR_OF)} rooms on {len(FLOORS)} floors, {', '.join(BESIDE)} beside them")
    return "\n".join(lines)


_KNOWN = {*FLOOR_OF, *BESIDE}


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    """Walk a tree, but leave out what stands under ``if TYPE_CHECKING``."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            children: list[ast.AST] = list(child.orelse)
        else:
            children = [child]
        for one in children:
            yield one
            yield from _executed(one)


def _file_of(module: str) -> Path | None:
    path = PACKAGE.parent / Path(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def _name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _circle(graph: Arrows) -> list[str] | None:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle: list[str] = error.args[1]
        return circle
    return None


if __name__ == "__main__":
    arrows = module_graph()
    print(drawing(arrows))
    problems = faults(arrows)
    print("\n".join(problems) or "no arrow up, no circle")
    sys.exit(bool(problems))
