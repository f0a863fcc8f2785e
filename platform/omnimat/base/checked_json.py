"""JSON files that carry a checksum of their own content, so that damage to them is noticed.

A bit that flips in a file of JSON often leaves valid JSON with another number in it. The checksum
is one more key of the object, ``checksum``. It is a hash of all the others, and it does not depend
on how the text is laid out. A file of an older omnimat has none and is read without this check.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.files import read_file, write_json
from omnimat.base.settings import fingerprint

CHECKSUM = "checksum"


def write_checked_json(path: UPath, content: Mapping[str, Any]) -> None:
    """Write a JSON object with its checksum, as ``write_atomically`` does.

    Raises:
        UserError: it may not be written.
        RunError: the storage did not answer.
    """
    plain: dict[str, Any] = json.loads(json.dumps(content))
    write_json(path, plain | {CHECKSUM: fingerprint(plain)})


def read_checked_json(path: UPath, remedy: str) -> dict[str, Any]:
    """Read a JSON object, and compare it with its checksum if it has one.

    Args:
        path: the file.
        remedy: what to do if the file is damaged, which ends the message.

    Returns:
        The object without its checksum.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: the file is damaged, or it may not be read.
        RunError: the storage did not answer.
    """
    return parsed(read_file(path), path, remedy)


def parsed(data: bytes, path: UPath, remedy: str) -> dict[str, Any]:
    """Parse the content of such a file; see ``read_checked_json``."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged, it is not JSON ({error}): {remedy}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is damaged, it is no JSON object: {remedy}")
    told = content.pop(CHECKSUM, None)
    if told is not None and told != fingerprint(content):
        raise UserError(f"{path} was changed after it was written (checksum): {remedy}")
    return content
