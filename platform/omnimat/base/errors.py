"""Errors that users can fix."""


class UserError(ValueError):
    """A user's error; its message is one sentence that names the file or key and the remedy.

    The command line exits with code 2. It is a ValueError, so that settings can raise it while they
    are validated.
    """


class RunError(RuntimeError):
    """A run stopped or failed for a known reason, given in one sentence; the exit code is 1."""


def own_error(error: Exception) -> Exception:
    """Give the error that says why in one sentence, where a task of Ray raised it.

    Ray's wrapper is of the same class, but its text is a traceback; it holds the error itself.
    """
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, RunError | UserError) else error
