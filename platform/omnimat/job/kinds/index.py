"""Jobs of kind ``index``."""

from __future__ import annotations

from omnimat.base.lease import Fence
from omnimat.base.workspace import INDEXES
from omnimat.job.kinds.predict import PredictJob
from omnimat.prediction.settings import IndexSettings


class IndexJob(PredictJob):
    """Makes an index of the materials of a source or of a data set, for searches and screens."""

    kind = "index"
    settings_type = IndexSettings
    among = INDEXES

    def execute(self, fence: Fence) -> None:
        """Make the parts that are not there yet, and put them together."""
        from omnimat.prediction.indexing import index

        assert isinstance(self.settings, IndexSettings)
        index(self.name, self.settings, self.workspace, fence)
