"""Locations on any filesystem that fsspec knows; those out of reach are refused at once."""

from __future__ import annotations

import fsspec
from upath import UPath

from omnimat.base.errors import UserError


def is_local(path: UPath) -> bool:
    """Return whether a path is on this machine's own filesystem."""
    return path.protocol in {"", "file"}


def location(uri: str, key: str) -> UPath:
    """Make a path from the name or the URI (``s3://bucket/data``) of a file or folder.

    Args:
        uri: the name or URI that the user wrote.
        key: key under which it was written, with which error messages begin.

    Raises:
        UserError: fsspec does not know the filesystem, or its package is not installed.
    """
    try:
        path = UPath(uri)
        fsspec.get_filesystem_class(path.protocol)
    except ImportError as error:
        raise UserError(
            f"{key}: {uri} cannot be reached: {error}; pip install 'omnimat[s3]' or 'omnimat[gcs]'"
        ) from error
    except ValueError as error:
        raise UserError(f"{key}: {uri} cannot be reached: {error}; check its first part") from error
    if is_local(path):
        return path
    # A cached listing of a folder would hide what other processes have written there since.
    return UPath(uri, protocol=path.protocol, use_listings_cache=False)
