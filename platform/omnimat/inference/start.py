"""A packed model as the start of a sweep: its encoders become a run of the storage.

Every worker of a cluster reaches the storage, and none the folder in which somebody has a package.
The run is named after the model and the content of its card, so that a package that is moved stays
the same start, and another one of its name is another.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pydantic import ValidationError
from upath import UPath

from omnimat.base import strict_json
from omnimat.base.checked_json import write_checked_json
from omnimat.base.errors import UserError
from omnimat.base.settings import fingerprint, first_mistake
from omnimat.base.workspace import RESULT, Workspace
from omnimat.inference.card import SeenMaterials
from omnimat.inference.package import SEEN, Package
from omnimat.inference.shipped import located
from omnimat.modalities.choices import ModalityChoices
from omnimat.models.export import Card
from omnimat.models.inputs import export_folder
from omnimat.training.seen import PACKAGE, SeenElsewhere

_NAME_LENGTH = 12  # of the hash in the name of a run


def opened(path: str, modalities: Sequence[str] = ()) -> Package:
    """Open the package that a job names.

    Args:
        path: as the job has it.
        modalities: whose encoders are needed.

    Raises:
        UserError: it is no package, or lacks an encoder.
    """
    package = Package(located(path))
    known = package.card.encoders
    if missing := [name for name in modalities if name not in known]:
        raise UserError(
            f"modalities: {path} has no encoder for {', '.join(missing)}; choose among "
            f"{', '.join(known)}"
        )
    return package


def cards_with(package: Package, added: ModalityChoices | None) -> dict[str, Card]:
    """Give the cards of a package's encoders, and of untrained ones that are added to them.

    Raises:
        UserError: the package has an encoder for what is added.
    """
    known = dict(package.card.encoders)
    embedding_dim = next(iter(known.values())).embedding_dim
    for name, choice in ({} if added is None else added.chosen()).items():
        if name in known:
            raise UserError(f"added.{name}: {package.card.name} has an encoder for it; take it out")
        known[name] = Card(
            modality=name,
            encoder=choice.encoder.exported(),
            featurizer=choice.featurizer.model_dump(mode="json"),
            embedding_dim=embedding_dim,
            parent_run="",
            config_hash=fingerprint(choice.model_dump(mode="json")),
            dataset_fingerprint="",
            samples_seen=0,
        )
    return known


def as_run(package: Package, workspace: Workspace, added: ModalityChoices | None = None) -> str:
    """Leave the encoders of a package in a storage as a run; do nothing if they are there.

    Args:
        package: the package.
        workspace: the storage.
        added: modalities that get untrained encoders beside them, always the same; each trial
            draws its own.

    Returns:
        The name of the run.

    Raises:
        UserError: a file of the package is not what its card says, or it has an encoder for what is
            added.
    """
    import torch

    from omnimat.inference.unpacked import Unpacked
    from omnimat.models.export import save

    card, cards = package.card, cards_with(package, added)
    fresh = {name: one for name, one in cards.items() if name not in card.encoders}
    content = [
        card.model_dump(mode="json"),
        *(one.model_dump(mode="json") for one in fresh.values()),
    ]
    readable = re.sub(r"[^A-Za-z0-9_\-]", "_", card.name).strip("_-") or "model"
    name = f"{readable}-{fingerprint(content if fresh else content[0])[:_NAME_LENGTH]}"
    run = workspace.run(name)
    if (run / RESULT).exists():
        return name
    seen = seen_by(package)
    networks = Unpacked(package, torch.device("cpu"))
    for modality in card.encoders:
        encoder = networks.encoder(modality)
        save(export_folder(run, modality), encoder.module, encoder.card)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for modality, one in fresh.items():
            save(export_folder(run, modality), one.build(), one)
    told = {
        "name": card.name,
        "seen": seen.model_dump(mode="json"),
        "trained": [one.model_dump(mode="json") for one in card.trained],
    }
    write_checked_json(run / RESULT, {"settings": card.config, PACKAGE: told})
    return name


def seen_by(package: Package) -> SeenElsewhere:
    """Give what the weights of a package have seen, as far as it tells.

    Raises:
        UserError: its list of materials is not what its card says.
    """
    card, materials = package.card, None
    last = card.trained[-1] if card.trained else None
    if card.seen is not None and card.seen.num_materials is not None:
        materials = _materials(package)
    return SeenElsewhere(
        dataset="" if last is None else last.dataset,
        dataset_fingerprint="" if last is None else last.dataset_fingerprint,
        properties=() if card.seen is None else card.seen.properties,
        formulas=None if materials is None else materials.formulas,
        ids=() if materials is None else materials.ids,
    )


def _materials(package: Package) -> SeenMaterials:
    data, place = package.data(SEEN), UPath(package.place) / SEEN
    try:
        strict_json.check(data)
        return SeenMaterials.model_validate_json(data)
    except ValidationError as error:
        raise UserError(f"{place} cannot be read: {first_mistake(error)}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{place} cannot be read: {error}") from error
