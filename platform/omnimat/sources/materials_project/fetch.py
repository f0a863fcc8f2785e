"""What is fetched from the public buckets, in tasks that need no key and may run anywhere.

Each task stores what it gets as it goes on, and gives the reasons for what it could not get.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

from upath import UPath

from omnimat.sources.materials_project.arrays import charge_density_document, dos_document
from omnimat.sources.materials_project.catalogue import (
    BUILD_BUCKET,
    DOS_TABLE,
    PARSED_BUCKET,
    Collection,
    canonical_id,
    charge_density_key,
    dos_key,
)
from omnimat.sources.materials_project.open_data import OpenData
from omnimat.sources.materials_project.parts import Document
from omnimat.sources.materials_project.patience import (
    Missing,
    Patience,
    Patient,
    Refused,
    Unavailable,
)
from omnimat.sources.materials_project.snapshot import Snapshot

DOS, CHARGE_DENSITY = "dos", "charge_density"

_ROWS_IN_MEMORY = 10_000
_IDS_A_PART = 1000
_DOS_COLUMNS = (
    "identifier",
    "energies",
    "efermi",
    "spin_up_densities",
    "spin_down_densities",
)


def patient_with(open_data: OpenData, patience: Patience) -> Patient:
    """Make the one who asks S3."""
    return Patient("the Materials Project's open data on S3", patience, open_data.is_alive)


def of_version(version: str | None) -> str:
    """Give the SQL condition that chooses a version of the database; None chooses all."""
    return "true" if version is None else f"version = '{version}'"


def fetch_collection(
    directory: UPath, open_data: OpenData, patience: Patience, collection: Collection
) -> str | None:
    """Read a collection's whole Delta table and store the documents of the listed materials.

    Returns:
        The reason why it could not be read. None if it was read: then the service does not have
        what is not stored.
    """
    snapshot = Snapshot(directory)
    try:
        left = patient_with(open_data, patience).call(
            lambda: _scan(snapshot, open_data, collection)
        )
    except (Refused, Unavailable) as error:
        return str(error)
    if left:
        snapshot.add(collection.name, dict.fromkeys(left))
    return None


def _scan(snapshot: Snapshot, open_data: OpenData, collection: Collection) -> list[str]:
    """Store what the table holds of the materials that are not stored yet, and give the others.

    Rows wait in memory until they can be stored with their neighbours in the listing, since shards
    read neighbours.
    """
    listing, settled = snapshot.listing(), snapshot.settled(collection.name)
    version = open_data.table_version(BUILD_BUCKET, collection.table)
    place = {i: n for n, i in enumerate(listing.material_ids) if i not in settled}
    waiting: dict[int, dict[str, Document | None]] = {}
    num_waiting = 0
    columns = ["material_id", *collection.fields]
    for row in open_data.rows(BUILD_BUCKET, collection.table, columns, of_version(version)):
        material_id = canonical_id(row["material_id"])
        if (number := place.pop(material_id, None)) is None:
            continue
        document = Document(
            collection.flat(row), database_version=version or listing.database_version
        )
        waiting.setdefault(number // _IDS_A_PART, {})[material_id] = document
        num_waiting += 1
        if num_waiting == _ROWS_IN_MEMORY:
            _store(snapshot, collection, waiting)
            num_waiting = 0
    _store(snapshot, collection, waiting)
    return list(place)


def _store(
    snapshot: Snapshot, collection: Collection, waiting: dict[int, dict[str, Document | None]]
) -> None:
    for documents in waiting.values():
        snapshot.add(collection.name, documents)
    waiting.clear()


def fetch_dos(
    directory: UPath, open_data: OpenData, patience: Patience, task_of: Mapping[str, str]
) -> dict[str, str]:
    """Query and store densities of states in one pass over a stretch of their table.

    Args:
        directory: the folder of the snapshot.
        open_data: the buckets.
        patience: how patiently they are asked.
        task_of: the calculation of each material; neighbours in the table make a short stretch.

    Returns:
        By material id, why something could not be had.
    """

    def get(ids: Sequence[str]) -> dict[str, Document]:
        material_of = {dos_key(task_of[i]): i for i in ids}
        keys = ", ".join(f"'{key}'" for key in material_of)
        # The engine skips files by the range, but not by a long list.
        condition = (
            f"identifier BETWEEN '{min(material_of)}' AND '{max(material_of)}' "
            f"AND identifier IN ({keys})"
        )
        rows = open_data.rows(PARSED_BUCKET, DOS_TABLE, _DOS_COLUMNS, condition)
        found = ((material_of[row["identifier"]], row) for row in rows)
        return {i: dos_document(task_of[i], row) for i, row in found}

    found, failed = patient_with(open_data, patience).by_halves(list(task_of), get)
    if found:
        # Calculations are not in the order of materials, so rows will be read one by one.
        Snapshot(directory).add(DOS, found, rows_per_group=1)
    absent = task_of.keys() - found.keys() - failed.keys()
    return failed | {i: f"S3: task {task_of[i]} is not in {DOS_TABLE}" for i in absent}


def fetch_charge_densities(
    directory: UPath,
    open_data: OpenData,
    patience: Patience,
    tasks_of: Mapping[str, Sequence[str]],
    num_points: int,
) -> dict[str, str]:
    """Download, coarsen and store charge densities, one at a time in memory and in each part.

    Args:
        directory: the folder of the snapshot.
        open_data: the buckets.
        patience: how patiently they are asked.
        tasks_of: the calculations of each material; the first one that has an object is taken.
        num_points: how many points the grid is to have along each axis.

    Returns:
        By material id, why something could not be had.
    """
    snapshot, patient = Snapshot(directory), patient_with(open_data, patience)
    failed = {}
    for material_id, task_ids in tasks_of.items():
        try:
            document = _charge_density(open_data, patient, task_ids, num_points)
        except (Refused, Unavailable) as error:
            failed[material_id] = str(error)
        else:
            snapshot.add(CHARGE_DENSITY, {material_id: document}, part=material_id)
    return failed


def _charge_density(
    open_data: OpenData, patient: Patient, task_ids: Sequence[str], num_points: int
) -> Document:
    missing: Missing | None = None
    for task_id in task_ids:
        key = charge_density_key(task_id)
        try:
            data = patient.call(functools.partial(open_data.object, PARSED_BUCKET, key))
        except Missing as error:
            missing = missing or error
        else:
            return charge_density_document(task_id, data, num_points)
    raise missing or Missing("no calculation")
