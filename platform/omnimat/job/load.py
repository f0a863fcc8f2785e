"""Reading job files: YAML, presets, overrides, and one clear sentence where something is wrong."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from omnimat.base.errors import UserError
from omnimat.job.document import parsed
from omnimat.job.spec import JOB, JOBS, Job, PipelineJob

# A file under two presets is two jobs.
_Identity = tuple[Path, str | None]


@dataclass(frozen=True)
class LoadedJob:
    """A job and the file it stands in."""

    path: Path
    job: Job


def load(
    path: Path, overrides: Sequence[str] = (), inherited_preset: str | None = None
) -> LoadedJob:
    """Read a job file: its preset is laid over it, and the overrides over both.

    Args:
        path: of the YAML file.
        overrides: ``key.key=value``, values as in YAML; ``preset=name`` chooses the preset.
        inherited_preset: of the job that needs this one; it counts where the file chooses none,
            and changes nothing where the file has none of that name.

    Raises:
        UserError: naming the file, the key and the remedy.
    """
    values = _read_yaml(path)
    for override in overrides:
        _apply(values, override)
    values = _with_preset(path, values, inherited_preset)
    for override in overrides:  # again: they win over the preset
        _apply(values, override)
    try:
        return LoadedJob(path, JOB.validate_python(values))
    except ValidationError as error:
        raise UserError(f"{path}: {_sentence(error)}") from error


def load_tree(path: Path, overrides: Sequence[str] = ()) -> list[LoadedJob]:
    """Read a job file and all it needs, in the order to run; overrides go to the named file.

    Raises:
        UserError: as ``load``, or if jobs need each other in a circle.
    """
    ordered: dict[_Identity, LoadedJob] = {}
    _visit(load(path, overrides), (), ordered)
    return list(ordered.values())


def _visit(loaded: LoadedJob, above: tuple[Path, ...], ordered: dict[_Identity, LoadedJob]) -> None:
    path, job = loaded.path, loaded.job
    identity = (path.resolve(), job.preset)
    if path.resolve() in above:
        raise UserError(f"{path} needs itself through {' -> '.join(p.name for p in above)}")
    if identity in ordered:
        return
    for need in (*job.needs, *(job.jobs if isinstance(job, PipelineJob) else ())):
        _visit(_needed(need, loaded), (*above, path.resolve()), ordered)
    ordered[identity] = loaded


def _needed(need: str, needed_by: LoadedJob) -> LoadedJob:
    """Load a needed job; it keeps its things where the job that needs it looks for them."""
    loaded = load(_find(need, needed_by.path), inherited_preset=needed_by.job.preset)
    keys = [key for key in ("storage_path", "leaderboard_url") if getattr(loaded.job, key) is None]
    inherited = {key: getattr(needed_by.job, key) for key in keys}
    return LoadedJob(loaded.path, loaded.job.model_copy(update=inherited))


def _find(need: str, needed_by: Path) -> Path:
    """Find a needed job file from the folder of the job, upwards: cwd does not matter."""
    for folder in needed_by.resolve().parents:
        if (folder / need).is_file():
            return folder / need
    raise UserError(f"{needed_by}: needs: no file {need!r} here or in any folder above")


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text()
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; give the path of a job file") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder; give the path of a job file") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no YAML: {error}") from error
    values = parsed(text, str(path))
    if not isinstance(values, dict):
        raise UserError(f"{path} holds no keys; a job file starts with 'kind:'")
    return values


def _with_preset(path: Path, values: dict[str, Any], inherited: str | None) -> dict[str, Any]:
    """Lay the chosen preset over a file's values, and write down which it was."""
    presets, own = values.get("presets", {}), values.get("preset")
    chosen = inherited if own is None else own
    if not (isinstance(chosen, str) and isinstance(presets, Mapping)):
        return values
    if own is not None and own not in presets:
        known = f"choose one of {', '.join(presets)}" if presets else "this file has no presets"
        raise UserError(f"{path}: preset: unknown preset {own!r}; {known}")
    partial = presets.get(chosen, {})
    if not isinstance(partial, Mapping):
        raise UserError(f"{path}: presets.{chosen} holds a value, not keys")
    return {**_merged(values, partial), "preset": chosen}


def _merged(values: Mapping[str, Any], partial: Mapping[str, Any]) -> dict[str, Any]:
    """Lay a partial tree over a tree: mappings are joined, all else is replaced.

    So is a mapping of another ``type``: the keys of the old one mean nothing to the new one.
    """
    if "type" in partial and values.get("type", partial["type"]) != partial["type"]:
        return dict(partial)
    both = {
        key: _merged(values[key], part)
        for key, part in partial.items()
        if isinstance(part, Mapping) and isinstance(values.get(key), Mapping)
    }
    return {**values, **partial, **both}


def _apply(values: dict[str, Any], override: str) -> None:
    keys, equals, text = override.partition("=")
    if not equals:
        raise UserError(f"--set {override}: write it as key.key=value")
    *parents, last = keys.split(".")
    for key in parents:
        values = values.setdefault(key, {})
        if not isinstance(values, dict):
            raise UserError(f"--set {override}: {key!r} holds a value, not keys")
    if not text.strip():
        raise UserError(f"--set {override}: the value is missing; write null for none")
    values[last] = parsed(text, f"--set {override}")


def _sentence(error: ValidationError) -> str:
    """Say the first mistake; the most telling one, unknown keys, goes first."""
    mistakes = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    first = mistakes[0]
    rest = f" (and {len(mistakes) - 1} more)" if len(mistakes) > 1 else ""
    keys, siblings = _locate(first["loc"])
    if first["type"] == "extra_forbidden":
        return f"unknown key {'.'.join(keys)!r}{_suggestion(keys[-1], siblings)}{rest}"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"].startswith("union_tag"):
        keys = [*keys, str(first["ctx"]["discriminator"]).strip("'")]
    if first["type"] == "union_tag_not_found":
        message = "Field required"
    return f"{'.'.join(keys)}: {message}{rest}" if keys else f"{message}{rest}"


def _locate(location: tuple[int | str, ...]) -> tuple[list[str], set[str]]:
    """Follow pydantic's path, which mixes keys with names of union members, down the tree.

    Returns:
        The keys alone, and the names known where the last one stands.
    """
    keys: list[str] = []
    models: list[type[BaseModel]] = [JOBS[str(part)] for part in location[:1]]
    siblings: set[str] = set()
    for depth, part in enumerate(location[1:], start=2):
        fields = {name: f for model in models for name, f in model.model_fields.items()}
        if members := [m for m in models if part not in fields and _type_of(m) == part]:
            models = members
            continue
        is_key = part in fields or isinstance(part, int) or depth == len(location)
        if is_key:
            keys.append(str(part))
            siblings = set(fields)
        if part in fields:
            models = _models_in(fields[str(part)].annotation)
    return keys, siblings


def _type_of(model: type[BaseModel]) -> Any:
    """Give the ``type`` by which a job file names a member of a union."""
    field = model.model_fields.get("type")
    return field.default if field else None


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """Give the models a type is made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for member in get_args(annotation) for model in _models_in(member)]


def _suggestion(key: str, known: set[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known here: {', '.join(sorted(known))}"
