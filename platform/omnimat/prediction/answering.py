"""The second of two actors: it applies the model to the features of a part, and writes the part."""

from __future__ import annotations

import time

import pyarrow as pa
import torch

from omnimat.base.errors import RunError, UserError
from omnimat.base.files import parquet_bytes
from omnimat.base.lease import Fence
from omnimat.inference.package import Package
from omnimat.inference.unpacked import Unpacked
from omnimat.nn.devices import on_gpu
from omnimat.prediction.answers import Asked
from omnimat.prediction.featurizing import (
    ERROR,
    FEATURIZE_S,
    READ_S,
    block_of,
    features_of,
    part_of,
)
from omnimat.prediction.parts import PartFile, PartReport, part_name, write_part
from omnimat.prediction.settings import AppliedSettings

REPORT = "report"


class Answer:
    """Answers for parts and writes them."""

    def __init__(self, package: Package, settings: AppliedSettings, fence: Fence) -> None:
        """Answer for the holder of a folder.

        Args:
            package: the model, with its files in memory.
            settings: what is asked of it.
            fence: the right to the folder in which parts are written.
        """
        torch.set_num_threads(max(1, int(settings.model_num_cpus)))
        has_gpu = settings.model_resources.get("GPU")
        device = on_gpu(torch.device("cuda")) if has_gpu else torch.device("cpu")
        unpacked = Unpacked(package, device)
        self._asked = Asked(unpacked, settings.wanted, settings.modality)
        self._fence = fence

    def __call__(self, block: pa.Table) -> pa.Table:
        """Write a part and give its report as JSON, or an error."""
        report, error = "", block[ERROR][0].as_py()
        try:
            report = "" if error else self._written(block).model_dump_json()
        except (RunError, UserError) as failure:
            error = str(failure)
        return block_of(part_of(block), **{REPORT: [report], ERROR: [error]})

    def _written(self, block: pa.Table) -> PartReport:
        started_s = time.perf_counter()
        answers = self._asked.answer(features_of(block))
        data = parquet_bytes(answers.table)
        seconds = {
            "read": block[READ_S][0].as_py(),
            "featurize": block[FEATURIZE_S][0].as_py(),
            "network": time.perf_counter() - started_s,
        }
        name = part_name(part_of(block).number)
        report = PartReport(
            file=PartFile.named(name, data, len(answers.table)),
            quarantined=answers.quarantined,
            seconds=seconds,
        )
        write_part(self._fence.folder, data, report, self._fence.check)
        return report
