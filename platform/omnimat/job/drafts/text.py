"""The text of drafted job files: templates that lie beside this file, filled in and written."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import yaml

from omnimat.base.errors import UserError
from omnimat.job.document import override, parsed

_PLAIN = re.compile(r"[A-Za-z/_][A-Za-z0-9_./\-]*")
_FIRST_LINE = "#!/usr/bin/env -S omnimat run\n"
_MODE = 0o755  # a job file is a program
_COMMENTS_BEGIN = 30


def filled(template: str, **values: Any) -> str:
    """Fill in a template.

    Args:
        template: its name without the ending (``pretrain``).
        values: what it asks for. In a template, a tab stands before a comment beside a value.
    """
    text = _templates().get_template(f"{template}.yaml.j2").render(values)
    return "".join(_aligned(line) for line in text.splitlines(keepends=True))


def _aligned(line: str) -> str:
    """Put the comment after a tab into its column; no value that is filled in has a tab."""
    code, tab, comment = line.partition("\t")
    return f"{code:<{_COMMENTS_BEGIN - 2}}  {comment}" if tab else line


def scalar(value: Any) -> str:
    """Write a value as YAML that is read as the same value wherever it stands."""
    text = str(value)
    if not isinstance(value, str) or (_PLAIN.fullmatch(text) and yaml.safe_load(text) == text):
        return text
    return json.dumps(text, ensure_ascii=False)


def exponential(number: float) -> str:
    """Write a number as YAML and people read it: ``5.0e-4``, ``1.0e+0``."""
    mantissa, _, power = f"{number:.1e}".partition("e")
    return f"{mantissa}e{int(power):+d}"


def overridden(text: str, overrides: Sequence[str]) -> str:
    """Put other values into the text of a job; with none, its comments stay.

    Args:
        text: the job.
        overrides: ``key.key=value``.

    Raises:
        UserError: an override is none.
    """
    if not overrides:
        return text
    values = parsed(text, "the drafted job")
    for one in overrides:
        override(values, one)
    return _FIRST_LINE + yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def check_free(path: Path, text: str, remedy: str) -> None:
    """Refuse to overwrite a file of another content.

    Args:
        path: where the text is to be written.
        text: the text.
        remedy: what to do, as the message says it.

    Raises:
        UserError: another file is there.
    """
    try:
        is_free = not path.exists() or path.read_bytes() == text.encode()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}; {remedy}") from error
    if not is_free:
        raise UserError(f"{path} is there already, with other content; {remedy}")


def write_job_file(path: Path, text: str) -> None:
    """Write a job file that can be run as a program.

    Raises:
        UserError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(_MODE)
    except OSError as error:
        raise UserError(
            f"{path} cannot be written: {error.strerror}; choose another place"
        ) from error


@functools.cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # these are no pages
    )
    environment.filters["scalar"] = scalar
    environment.filters["exponential"] = exponential
    return environment
