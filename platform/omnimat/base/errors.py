"""Errors that are the user's to mend."""


class UserError(ValueError):
    """One sentence naming the file or key and the remedy; the command line exits with code 2.

    A ValueError, so that settings may raise it while they are validated.
    """


class RunError(RuntimeError):
    """A run that was stopped or failed for a known reason: one sentence, exit code 1."""
