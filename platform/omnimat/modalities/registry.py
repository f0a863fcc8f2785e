"""The only list of the modalities, which all other code asks."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator

from omnimat.base.errors import UserError
from omnimat.base.registry import Registry, imported
from omnimat.modalities.layout import Featurizer
from omnimat.modalities.modality import Modality
from omnimat.modalities.storage import Stored

_HERE = "omnimat.modalities"

MODALITIES: Registry[Modality] = Registry(
    "omnimat.modalities",
    {
        name: f"{_HERE}.{name}:MODALITY"
        for name in (
            "structure",
            "dos",
            "charge_density",
            "text",
            "xrd",
            "composition",
            "properties",
            "geometry",
            "elastic_response",
        )
    },
)

ENCODERS: Registry[type[Any]] = Registry("omnimat.encoders", {})
"""Encoders of other packages; the attribute ``modalities`` of each says what it serves."""


def modality(name: str) -> Modality:
    """Return a modality by its name.

    Raises:
        UserError: there is no modality of this name.
    """
    return MODALITIES.load(name)


@functools.cache
def parts() -> Mapping[str, Stored]:
    """Return every part that a record may have by its name, in the order of a shard.

    Raises:
        UserError: two modalities store parts of the same name.
    """
    found: dict[str, Stored] = {}
    for one in MODALITIES.load_all().values():
        for stored in one.stored:
            if stored.name in found or stored.name in {"properties", "provenance"}:
                raise UserError(f"modality {one.name!r} stores a part {stored.name!r}, as another")
            found[stored.name] = stored
    return found


def encoder_classes(name: str) -> tuple[type[Any], ...]:
    """Return the settings classes of a modality's encoders, the default first."""
    own = [imported(path) for path in modality(name).encoders.values()]
    others = [one for one in ENCODERS.load_all().values() if name in one.modalities]
    return tuple(dict.fromkeys([*own, *others]))


def all_encoder_classes() -> tuple[type[Any], ...]:
    """Return the settings classes of all encoders, each once."""
    every = [one for name in MODALITIES.names for one in encoder_classes(name)]
    return tuple(dict.fromkeys(every))


def default_featurizer(name: str) -> Featurizer:
    """Build the default featurizer of a modality with its default settings."""
    featurizer: Featurizer = modality(name).featurizer_classes()[0]()
    return featurizer


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Sort names of modalities into the order of the registry."""
    given = set(names)
    return tuple(name for name in MODALITIES.names if name in given)


def _known(name: str) -> str:
    if name not in MODALITIES.names:
        raise ValueError(
            f"{name!r} is no modality; choose one of {', '.join(MODALITIES.names)}, or install the "
            "package that provides it"
        )
    return name


ModalityName = Annotated[str, AfterValidator(_known)]
"""The name of a modality in a job file."""
