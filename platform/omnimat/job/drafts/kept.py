"""The job file that made a data set, which lies beside its manifest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from omnimat.base.errors import UserError
from omnimat.base.files import write_atomically
from omnimat.base.workspace import Workspace
from omnimat.job.drafts.ingest import settings_of
from omnimat.job.drafts.text import filled
from omnimat.shards.manifest import Manifest
from omnimat.sources.settings import IngestSettings

KEPT_NAME = "ingest.yaml"


def keep(job_file: Path, workspace: Workspace, name: str) -> None:
    """Keep the job file that made a data set beside its manifest."""
    write_atomically(workspace.dataset(name) / KEPT_NAME, job_file.read_bytes())


def known_ingest(workspace: Workspace, name: str) -> str | None:
    """Return the text of a job that makes a data set again.

    Returns:
        The job file that was kept, or one of the source that the manifest names; None if the
        manifest was made with settings that neither tells.
    """
    folder = workspace.dataset(name)
    manifest = Manifest.load(folder)
    candidates = [_kept(workspace, name), *_from_manifest(manifest)]
    return next((text for text in candidates if text and _made_it(text, manifest)), None)


def units_in(text: str | None) -> dict[str, str]:
    """Return the units of labels that an ingest job says, by the labels' names."""
    labels = None if text is None else settings_of(text).labels
    columns = {} if labels is None else labels.columns or {}
    return {name: one.unit for name, one in columns.items() if one.unit}


def _kept(workspace: Workspace, name: str) -> str | None:
    path = workspace.dataset(name) / KEPT_NAME
    return path.read_text() if path.exists() else None


def _from_manifest(manifest: Manifest) -> list[str]:
    """Write jobs of the source that the manifest names, which may be other ones than made it."""
    source: dict[str, Any] = dict(manifest.source)
    default = IngestSettings.model_fields["records_per_shard"].default
    sizes = dict.fromkeys([default, max((one.num_records for one in manifest.shards), default=1)])
    return [
        filled(
            "known_ingest",
            name=manifest.name,
            source=json.dumps(source, ensure_ascii=False),
            records_per_shard=size,
        )
        for size in sizes
        if size
    ]


def _made_it(text: str, manifest: Manifest) -> bool:
    try:
        return settings_of(text).fingerprint() == manifest.settings_fingerprint
    except (UserError, ValidationError):
        return False
