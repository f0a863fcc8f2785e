"""Asks the process that searches: one question at a time, within limits."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from threading import BoundedSemaphore, Lock

from omnimat.base.child import Child, ChildDiedError, LimitError, Limits
from omnimat.base.errors import RunError, UserError
from omnimat_dashboard.search.question import Answer, Question

MAX_FILE_BYTES = 8 << 20
# A model may be large, but a question is small, and a file may be made to take for ever.
PREPARING = Limits(max_cpu_s=300, max_memory_gb=16)
ANSWERING = Limits(max_cpu_s=30, max_memory_gb=3)
_MAX_WAIT_S = 20.0
_MAX_WAITING = 4  # each keeps a thread of the server from other pages
_MAX_NAME = 100


class Searcher:
    """The process that searches, which starts with the first question and stays warm."""

    def __init__(self, root: str) -> None:
        """Search in the indexes of a storage."""
        self._root = root
        self._child = Child()
        self._turn = Lock()
        self._waiting = BoundedSemaphore(_MAX_WAITING)

    def answer(self, question: Question, content: bytes | None = None) -> Answer:
        """Answer a question.

        Args:
            question: what is asked.
            content: bytes of the file that it names, if it does.

        Raises:
            UserError: the question, the index or the file cannot be read, or takes too much.
            RunError: others are still being answered.
        """
        if not self._waiting.acquire(blocking=False):
            raise RunError("several others are searching; ask again in a minute")
        try:
            return self._in_turn(question, content)
        finally:
            self._waiting.release()

    def _in_turn(self, question: Question, content: bytes | None) -> Answer:
        if not self._turn.acquire(timeout=_MAX_WAIT_S):
            raise RunError("another search takes long; ask again in a minute")
        try:
            return self._answer(question, content)
        except LimitError as error:
            raise UserError(f"the search {error}, which no search may here") from error
        except ChildDiedError as error:
            raise UserError(f"the process that searches ended: {error}") from error
        except (UserError, RunError):
            raise
        except Exception as error:  # what a process that reads strangers' files sends
            raise UserError(f"the search failed: {' '.join(str(error).split())}") from error
        finally:
            self._turn.release()

    def _answer(self, question: Question, content: bytes | None) -> Answer:
        # Functions of a module that loads torch are named by a module that does not.
        call = self._child.call
        call(prepare, self._root, question.index, limits=PREPARING)
        return call(answer, self._root, question, content, limits=ANSWERING)


def prepare(root: str, index: str) -> None:
    """Call ``worker.prepare`` there, where torch may be imported."""
    from omnimat_dashboard.search import worker

    worker.prepare(root, index)


def answer(root: str, question: Question, content: bytes | None) -> Answer:
    """Call ``worker.answer`` there, where torch may be imported."""
    from omnimat_dashboard.search import worker

    return worker.answer(root, question, content)


def plain_name(name: str) -> str:
    """Make the name of a file that was given one that lies in its folder, with its ending.

    Raises:
        UserError: nothing is left of it.
    """
    last = re.sub(r"[^A-Za-z0-9_.\- ]", "_", PurePosixPath(name.replace("\\", "/")).name)
    plain = last.lstrip(". -")[-_MAX_NAME:]
    if not plain:
        raise UserError("the file has no name; give it one with the ending of its format")
    return plain
