"""What a prediction will do, worked out from its settings and files alone. No Ray in here."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from omnimat.base.workspace import Workspace
from omnimat.inference.package import Package, opened
from omnimat.inference.unpacked import Unpacked
from omnimat.modalities.layout import Featurizer
from omnimat.prediction.answers import Asked
from omnimat.prediction.origin import Origin
from omnimat.prediction.rows import rows_of
from omnimat.prediction.settings import AppliedSettings
from omnimat.sources.base import Source


@dataclass(frozen=True)
class Plan:
    """What a prediction will do.

    Attributes:
        package: the model.
        featurizers: of all that the model takes for what is asked.
        rows: the input.
        origin: what both are.
    """

    package: Package
    featurizers: dict[str, Featurizer]
    rows: Source
    origin: Origin


def make_plan(settings: AppliedSettings, workspace: Workspace) -> Plan:
    """Open model and input.

    Raises:
        UserError: one is missing or damaged, or the model cannot do what is asked.
    """
    package, featurizers = open_model(settings)
    rows = rows_of(settings, workspace)
    return Plan(package, featurizers, rows, Origin.of(package.card, rows))


def open_model(settings: AppliedSettings) -> tuple[Package, dict[str, Featurizer]]:
    """Open the model, and build the featurizers of all that it takes for what is asked.

    Raises:
        UserError: it is missing or damaged, or it cannot do what is asked.
    """
    package = opened(settings.model)
    unpacked = Unpacked(package, torch.device("cpu"))
    return package, Asked(unpacked, settings.wanted, settings.modality).featurizers
