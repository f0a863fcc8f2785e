"""Locations on any filesystem that fsspec knows; one that cannot be had is refused at once."""

from __future__ import annotations

import fsspec
from upath import UPath

from omnimat.base.errors import UserError


def location(uri: str, key: str) -> UPath:
    """Make a path of a folder's or file's name or URI (``s3://bucket/data``).

    Args:
        uri: as written.
        key: of the job file, for the sentence of an error.

    Raises:
        UserError: fsspec knows no such filesystem, or its package is not installed.
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
    if path.protocol in {"s3", "s3a", "gs", "gcs"}:
        # Else answers come from its last listing of a folder, in which other processes write.
        return UPath(uri, protocol=path.protocol, use_listings_cache=False)
    return path
