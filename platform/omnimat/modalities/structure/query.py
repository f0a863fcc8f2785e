"""How a user asks by a crystal structure."""

from __future__ import annotations

from omnimat.modalities.modality import Query

QUERY = Query("structure")
