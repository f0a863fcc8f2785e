"""How a user asks by a density of states."""

from __future__ import annotations

from typing import cast

from omnimat.materials.record import Record
from omnimat.modalities.dos import DensityOfStates
from omnimat.modalities.dos.features import DosCurve
from omnimat.modalities.layout import Featurizer
from omnimat.modalities.modality import Query


def notes(record: Record, featurizer: Featurizer) -> list[str]:
    """Return a sentence on the channel of a curve that came without its spin."""
    dos: DensityOfStates | None = record.parts.get("dos")
    if dos is None or (dos.spin_down_per_ev is not None and dos.spin_down_per_ev.any()):
        return []
    spin = cast(DosCurve, featurizer).spin
    channel = "of spin up" if spin == "up" else "of both spins together"
    return [f"The curve is taken to be the density {channel}, like those of the training."]


QUERY = Query("dos", notes=notes)
