"""No contrast, for a run that learns by regression alone."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Literal

from omnimat.objectives.contrastive import Group, GroupObjective
from omnimat.objectives.temperature import TemperatureSettings

if TYPE_CHECKING:
    from torch import Tensor

    from omnimat.objectives.alignment import Alignment


class NoContrastSettings(GroupObjective):
    """Compares no modalities; what is learned stands under ``regression`` of the job file."""

    type: Literal["none"] = "none"

    @property
    def temperature(self) -> TemperatureSettings:
        """A fixed temperature, because a model asks for one; without a loss it has no effect."""
        return TemperatureSettings()

    def groups(self, modalities: Collection[str]) -> tuple[Group, ...]:
        """Return no group, whatever the modalities are."""
        del modalities
        return ()

    def share(self, alignment: Alignment, logit_scale: Tensor) -> Tensor:
        """Return zero, if anybody asks for the loss of a group."""
        del alignment
        return logit_scale.sum() * 0
