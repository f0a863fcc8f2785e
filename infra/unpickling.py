"""Finds code that might unpickle something: whoever writes such a file runs code in its reader."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOMS = ("platform", "dashboards", "jobs", "infra")

_MODULES = frozenset({"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve"})
_CALLS = frozenset({"load_checkpoint", "read_pickle", "unsafe_load", "unsafe_load_all"})
_REMEDY = "store tensors as safetensors and the rest as JSON"


def faults(repository: Path) -> list[str]:
    """Name file and line of whatever might unpickle in the code of a checkout."""
    files = (file for room in ROOMS for file in sorted((repository / room).rglob("*.py")))
    found = []
    for file in files:
        name = file.relative_to(repository).as_posix()
        found += [
            f"{name}:{line}: {what} may unpickle: {_REMEDY}"
            for line, what in _suspects(ast.parse(file.read_text(), name))
        ]
    return found


def _suspects(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, n.name) for n in names if _is_pickler(n.name))
            case ast.ImportFrom(module=str(module), names=names):
                dotted = [f"{module}.{one.name}" for one in names]
                yield from ((node.lineno, one) for one in dotted if _is_pickler(one))
                if module in {"torch", "yaml"}:
                    hidden = [one for one in dotted if one.endswith((".load", ".load_all"))]
                    yield from ((node.lineno, one) for one in hidden)
            case ast.Attribute(attr=attr) if attr in _MODULES:
                yield node.lineno, ast.unparse(node)
            case ast.Call():
                if _is_unsafe(node):
                    yield node.lineno, ast.unparse(node.func)


def _is_pickler(dotted: str) -> bool:
    return not _MODULES.isdisjoint(dotted.split("."))


def _is_unsafe(call: ast.Call) -> bool:
    keywords = {one.arg: one.value for one in call.keywords}
    if "allow_pickle" in keywords and not _is(keywords["allow_pickle"], False):
        return True
    name = ast.unparse(call.func)
    if name == "torch.load":
        return not _is(keywords.get("weights_only"), True)
    if name in {"yaml.load", "yaml.load_all"}:
        loaders = [*call.args[1:2], *(keywords[key] for key in ("Loader",) if key in keywords)]
        return not any(ast.unparse(one).endswith("SafeLoader") for one in loaders)
    return name.rpartition(".")[2] in _CALLS


def _is(node: ast.AST | None, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value
