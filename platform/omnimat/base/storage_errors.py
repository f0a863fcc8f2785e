"""Errors of a file system as one sentence with a remedy."""

from __future__ import annotations

import errno
import os

from omnimat.base.errors import RunError, UserError

_REMEDIES = {
    errno.ENOSPC: "free some space on its disk and run the command again",
    errno.EDQUOT: "free some of your quota and run the command again",
    errno.EROFS: "name a place that can be written",
    errno.EACCES: "ask for permission, or name another place",
    errno.EPERM: "ask for permission, or name another place",
    errno.EIO: "check its disk and run the command again",
    errno.ESTALE: "mount its file system again and run the command again",
    errno.ENOENT: "see that nothing removes files there while a command runs",
    errno.EISDIR: "name a file, not a folder",
    errno.ENOTDIR: "name a folder, not a file",
    errno.EEXIST: "move away what is there",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "mend the links, which lead in a circle",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "close files of other programs",
    errno.EFBIG: "name a place that takes larger files",
}


# Whoever runs the command may have done nothing wrong; the disk has to be looked after.
_OF_THE_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.ENFILE})


def told_of(error: OSError, file: object = None) -> RunError | UserError | None:
    """Say which file is concerned, what is wrong with it and what helps.

    Args:
        error: what the file system raised, or a task of Ray because of it.
        file: the file, where the error itself may not know it.

    Returns:
        An error that says so in one sentence; None if nobody can say what helps.
    """
    error = getattr(error, "cause", error)  # what a task of Ray raised
    if error.errno not in _REMEDIES:
        return None
    name = str(file) if file is not None else os.fsdecode(error.filename or "a file")
    kind = RunError if error.errno in _OF_THE_DISK else UserError
    return kind(f"{name}: {os.strerror(error.errno)}; {_REMEDIES[error.errno]}")
