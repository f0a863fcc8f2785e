"""Packed models: those that come with omnimat, and those in the folder ``models`` of the storage.

A package of the storage may have been copied from anywhere. It is found through ``base.confined``,
and opened by ``inference.package``, which follows no link and holds each file against its card.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from threading import Lock

from omnimat.base.confined import Confined
from omnimat.base.errors import UserError
from omnimat.finetune.trial_settings import FROZEN
from omnimat.inference.card import PackageCard
from omnimat.inference.compare import models_in
from omnimat.inference.package import Package
from omnimat.inference.shipped import SHIPPED
from omnimat.leaderboard.origins import Origin
from omnimat_dashboard.artifacts import Found, attempt
from omnimat_dashboard.run_files import files_in, folders_in

MODELS = "models"  # the folder of the storage
MAX_PACKAGES = 200
MAX_DOWNLOAD_BYTES = 256 << 20  # a package is checked and zipped in memory
ZIP = ".zip"


@dataclass(frozen=True, slots=True)
class Packed:
    """A packed model.

    Attributes:
        name: what ``omnimat.load`` takes where it has been downloaded, without ``.zip``.
        card: what is known about it.
        place: where it lies in the storage; empty for one that comes with omnimat.
    """

    name: str
    card: PackageCard
    place: str = ""

    @property
    def size_bytes(self) -> int:
        """The size of its files."""
        return sum(file.size_bytes for file in self.card.files.values())

    @property
    def can_be_downloaded(self) -> bool:
        """Whether this server gives it away: it lies in the storage, and is not too large."""
        return bool(self.place) and self.size_bytes <= MAX_DOWNLOAD_BYTES

    @property
    def file(self) -> str:
        """The name of the file to download."""
        return f"{self.name}{ZIP}"

    def holds(self, origin: Origin) -> bool:
        """Say whether these weights are those of a run, by its name and its data."""
        if self.card.trained[-1:] and (
            self.card.trained[-1].dataset_fingerprint != origin.dataset_fingerprint
        ):
            return False
        if self.card.predictor is None:
            return origin.variant == "pretrained" and self.card.name == origin.parent_run
        is_frozen = all(one.parent_run != self.card.name for one in self.card.encoders.values())
        is_from_scratch = len(self.card.trained) == 1
        return (
            self.card.name == origin.run_name
            and is_frozen == (origin.variant in FROZEN)
            and is_from_scratch == (origin.variant == "from_scratch")
        )


class Packages:
    """The packed models that can be shown."""

    def __init__(self, storage: Confined) -> None:
        """Look into a storage, which need not have any."""
        self._storage = storage
        self._zipping = Lock()

    def all(self) -> dict[str, Found[Packed]]:
        """Open each package, or say why it cannot be opened: those of the storage come first.

        Raises:
            RunError: the storage is out of reach.
        """
        folder = self._storage.path(MODELS, "models")
        archives = [name for name in files_in(folder) if name.endswith(ZIP)]
        places = sorted({*folders_in(folder), *archives})[:MAX_PACKAGES]
        found = {place: self._packed(place) for place in places}
        return found | {name: Found(one) for name, one in _shipped().items() if name not in found}

    def opened(self) -> list[Packed]:
        """Give the packages that can be opened."""
        return [found.value for found in self.all().values() if found.value is not None]

    def of(self, origins: Iterable[Origin]) -> list[Packed]:
        """Give the packages that hold the weights of some of these runs."""
        wanted = list(origins)
        return [one for one in self.opened() if any(one.holds(origin) for origin in wanted)]

    def archive(self, file: str) -> Found[bytes]:
        """Zip a package of the storage after holding each of its files against its card.

        One at a time, since each takes twice its size of memory.
        """
        with self._zipping:
            return attempt(lambda: self._archive(file))

    def _packed(self, place: str) -> Found[Packed]:
        name, whole = place.removesuffix(ZIP), f"{MODELS}/{place}"
        return attempt(lambda: Packed(name, self._package(place).card, whole))

    def _package(self, place: str) -> Package:
        return Package(self._storage.path(f"{MODELS}/{place}", "model"))

    def _archive(self, file: str) -> bytes:
        packed = next((one for one in self.opened() if one.place and one.file == file), None)
        if packed is None:
            raise FileNotFoundError(file)
        if not packed.can_be_downloaded:
            raise UserError(f"{file} is larger than this server gives away; copy it yourself")
        return self._package(packed.place.removeprefix(f"{MODELS}/")).zipped()


@cache
def _shipped() -> dict[str, Packed]:
    found = models_in(SHIPPED) if SHIPPED.is_dir() else ()
    return {one.path.name: Packed(one.path.name, one.card) for one in found if one.card is not None}
