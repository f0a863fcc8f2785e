"""A lease for what a test does in a folder that nobody else knows of."""

from __future__ import annotations

from upath import UPath

from omnimat.base.lease import Fence, Lease


def leased(folder: UPath) -> Fence:
    """Take the lease of a folder, which counts until somebody else takes it."""
    with Lease.acquire(folder, folder.name) as lease:
        return lease.fence
