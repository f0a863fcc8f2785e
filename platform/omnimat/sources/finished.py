"""Whether a data set is finished, and still the one that its settings describe. Loads no Ray."""

from __future__ import annotations

from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.settings import fingerprint, identity
from omnimat.shards.manifest import MANIFEST_NAME, Manifest
from omnimat.sources.inputs import check_inputs
from omnimat.sources.settings import IngestSettings


def finished(settings: IngestSettings, name: str, destination: UPath) -> Manifest | None:
    """Return the manifest of a data set if it is finished.

    Raises:
        UserError: the data set was made with other settings or from other input files.
    """
    if not (destination / MANIFEST_NAME).exists():
        return None
    manifest = Manifest.load(destination)
    same = {settings.fingerprint(), _as_of_0_1_0(settings, manifest)}
    if manifest.settings_fingerprint not in same:
        raise UserError(
            f"{destination} holds the data set {name}, which was made with other settings: "
            "choose another name or delete it"
        )
    check_inputs(settings, destination)
    return manifest


def _as_of_0_1_0(settings: IngestSettings, manifest: Manifest) -> str | None:
    """Hash settings as omnimat 0.1.0 did, with defaults; None if it did not have such settings.

    Data sets of that version took hours to ingest, so they stay valid.
    """
    keys, told = {"records_per_shard", "split", "missing_text"}, identity(settings)
    parts = [told, *(told[key] for key in ("source", "split", "missing_text") if key in told)]
    is_new = not told.keys() <= {"source", *keys} or any("revision" in part for part in parts)
    if is_new or not identity(settings.source).keys() <= manifest.source.keys():
        return None
    values = settings.model_dump(mode="json", include=keys)
    if settings.missing_text is None:
        del values["missing_text"]
    source = settings.source.model_dump(mode="json", exclude={"access"})
    kept = {key: value for key, value in source.items() if key in manifest.source}
    return fingerprint({**values, "source": kept})
