"""Errors of a file system that no command expected, as one sentence."""

from __future__ import annotations

import errno
import os

_REMEDIES = {
    errno.ENOSPC: "free some space on its disk and run the command again",
    errno.EDQUOT: "free some of your quota and run the command again",
    errno.EROFS: "name a place that can be written",
    errno.EACCES: "ask for permission, or name another place",
    errno.EPERM: "ask for permission, or name another place",
    errno.EIO: "look after its disk and run the command again",
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


def sentence_of(error: OSError) -> str | None:
    """Say which file is concerned, what is wrong with it and what helps; None if nobody can say."""
    error = getattr(error, "cause", error)  # what a task of Ray raised
    if error.errno not in _REMEDIES:
        return None
    file = error.filename or "a file"
    return f"{os.fsdecode(file)}: {os.strerror(error.errno)}; {_REMEDIES[error.errno]}"
