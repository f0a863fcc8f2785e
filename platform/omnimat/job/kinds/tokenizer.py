"""Jobs of kind ``tokenizer``."""

from __future__ import annotations

from omnimat.job.job import Job
from omnimat.stream.tokenizer import TokenizerFitSettings


class TokenizerJob(Job[TokenizerFitSettings]):
    """Fits a tokenizer on the texts of a training split."""

    kind = "tokenizer"
    settings_type = TokenizerFitSettings

    def run(self, *, is_asked_for: bool = False, fresh: bool = False) -> None:
        """Fit the tokenizer in this process."""
        from omnimat.stream.tokenizer import fit_on_dataset

        fit_on_dataset(self.settings, self.name, self.workspace)
