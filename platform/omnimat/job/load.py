"""Reading job files: YAML, presets, overrides, and one clear sentence if something is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from omnimat.base.errors import UserError
from omnimat.base.settings import Settings
from omnimat.base.words import suggestion
from omnimat.job.document import MAX_CHARACTERS, override, parsed
from omnimat.job.header import JobHeader
from omnimat.job.job import KINDS, Job
from omnimat.job.mistakes import Mistake, sentence

JobT = TypeVar("JobT", bound=Job[Any])
SettingsT = TypeVar("SettingsT", bound=Settings)

_Identity = tuple[Path, str | None]
"""A file and its preset: one file under two presets is two jobs."""


def load(
    path: Path, overrides: Sequence[str] = (), inherited_preset: str | None = None
) -> Job[Any]:
    """Read a job file, with its preset laid over it and the overrides over both.

    Args:
        path: the YAML file.
        overrides: ``key.key=value``, with values as in YAML; ``preset=name`` chooses the preset.
        inherited_preset: preset of the job that needs this one. It counts if the file chooses none
            itself, and changes nothing if the file has none of that name.

    Raises:
        UserError: the sentence names the file, the key and the remedy.
    """
    values = _read_yaml(path)
    for one in overrides:
        override(values, one)
    values = _with_preset(path, values, inherited_preset)
    for one in overrides:  # again: they win over the preset
        override(values, one)
    return _validated(path, values)


def load_as(kind: type[JobT], path: Path, overrides: Sequence[str] = ()) -> JobT:
    """Read a job file that must be of one kind; see ``load``.

    Raises:
        UserError: as ``load``, or if it is of another kind.
    """
    job = load(path, overrides)
    if not isinstance(job, kind):
        raise UserError(f"{path}: kind {job.kind} does not fit; give a job of kind {kind.kind}")
    return job


def load_tree(path: Path, overrides: Sequence[str] = ()) -> list[Job[Any]]:
    """Read a job file and all it needs, in the order to run; overrides go to the named file.

    Raises:
        UserError: as ``load``, or if jobs need each other in a circle.
    """
    ordered: dict[_Identity, Job[Any]] = {}
    _visit(path, load(path, overrides), (), ordered)
    return list(ordered.values())


def _visit(
    path: Path, job: Job[Any], above: tuple[Path, ...], ordered: dict[_Identity, Job[Any]]
) -> None:
    identity = (path.resolve(), job.header.preset)
    if path.resolve() in above:
        raise UserError(f"{path} needs itself through {' -> '.join(p.name for p in above)}")
    if identity in ordered:
        return
    for need in job.needs:
        needed = _find(need, path)
        _visit(needed, _needed(needed, job), (*above, path.resolve()), ordered)
    ordered[identity] = job


def _needed(path: Path, needed_by: Job[Any]) -> Job[Any]:
    """Load a needed job; it keeps its things where the job that needs it looks for them."""
    header = needed_by.header
    job = load(path, inherited_preset=header.preset)
    keys = [key for key in ("storage_path", "leaderboard_url") if getattr(job.header, key) is None]
    inherited = {key: getattr(header, key) for key in keys}
    return replace(job, header=job.header.model_copy(update=inherited))


def _validated(path: Path, values: Mapping[str, Any]) -> Job[Any]:
    """Make the job that the values of a file describe."""
    kind = values.get("kind")
    if kind not in KINDS.names:
        what = f"unknown kind {kind!r}" if "kind" in values else "kind: Field required"
        raise UserError(f"{path}: {what}{suggestion(str(kind), KINDS.names)}")
    job = KINDS.load(str(kind))
    in_header = {key: value for key, value in values.items() if key in JobHeader.model_fields}
    others = {k: v for k, v in values.items() if k not in in_header and k != "kind"}
    mistakes: list[Mistake] = []
    header = _part(JobHeader, in_header, mistakes)
    settings = _part(job.settings_type, others, mistakes)
    if header is None or settings is None:
        flat_keys = {"kind", *JobHeader.model_fields, *job.settings_type.model_fields}
        raise UserError(f"{path}: {sentence(mistakes, flat_keys)}")
    return job(header, settings)


def _part(
    settings: type[SettingsT], values: Mapping[str, Any], mistakes: list[Mistake]
) -> SettingsT | None:
    """Validate a part of a file; give None and add to the mistakes if it is wrong."""
    try:
        return settings.model_validate(values)
    except ValidationError as error:
        mistakes += [(settings, details) for details in error.errors()]
        return None


def _find(need: str, needed_by: Path) -> Path:
    """Look for a needed job file in the folder of the job and in those above, not in the cwd."""
    for folder in needed_by.resolve().parents:
        if (folder / need).is_file():
            return folder / need
    raise UserError(f"{needed_by}: needs: no file {need!r} here or in any folder above")


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(MAX_CHARACTERS + 1)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; give the path of a job file") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder; give the path of a job file") from None
    except OSError as error:
        raise UserError(
            f"{path} cannot be read: {error.strerror}; give the path of a job file"
        ) from error
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
    """Lay a partial tree over a tree: mappings are joined, and all else is replaced.

    A mapping of another ``type`` is replaced as well, since its keys mean something else.
    """
    if "type" in partial and values.get("type", partial["type"]) != partial["type"]:
        return dict(partial)
    both = {
        key: _merged(values[key], part)
        for key, part in partial.items()
        if isinstance(part, Mapping) and isinstance(values.get(key), Mapping)
    }
    return {**values, **partial, **both}
