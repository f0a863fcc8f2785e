"""Jobs of kind ``tokenizer``."""

from __future__ import annotations

from upath import UPath

from omnimat.job.job import Job
from omnimat.stream.tokenizer import TokenizerFitSettings, fit_on_dataset


class TokenizerJob(Job[TokenizerFitSettings]):
    """Fits a tokenizer on the texts of a training split."""

    kind = "tokenizer"
    settings_type = TokenizerFitSettings

    @property
    def unfinished(self) -> UPath | None:
        """Folder of the tokenizer, until it is there."""
        path = self.workspace.tokenizer(self.name)
        return None if path.exists() else path.parent

    def run(self, *, is_asked_for: bool = False, fresh: bool = False) -> None:
        """Fit the tokenizer in this process."""
        fit_on_dataset(self.settings, self.name, self.workspace)
