"""The materials that a harvest is about, and the version of the database."""

from __future__ import annotations

from tqdm import tqdm

from omnimat.base.errors import UserError
from omnimat.sources.materials_project.catalogue import (
    BUILD_BUCKET,
    NON_COMMERCIAL,
    SUMMARY,
    batches_of,
    canonical_id,
    id_order,
)
from omnimat.sources.materials_project.fetch import of_version, patient_with
from omnimat.sources.materials_project.open_data import OpenData
from omnimat.sources.materials_project.patience import Refused, Unavailable
from omnimat.sources.materials_project.rest import IDS_PER_REQUEST, Rest
from omnimat.sources.materials_project.settings import Request
from omnimat.sources.materials_project.snapshot import Listing


def list_materials(request: Request, open_data: OpenData, rest: Rest) -> Listing:
    """List the materials that meet the filters, in the order of their numbers.

    Raises:
        UserError: there are none, or the key may not have what is asked for.
        RunError: the Materials Project does not answer at all.
    """
    if request.filters.include_non_commercial and not rest.gives_non_commercial():
        raise UserError(
            "source.filters.include_non_commercial: this key has no access to the GNoME data; "
            "accept their terms at https://next-gen.materialsproject.org or leave it false"
        )
    listed = _by_table(request, open_data) if request.is_whole else None
    version, ids = listed or (None, _by_rest(request, rest))
    ordered = sorted(set(ids), key=id_order)[: request.max_records]
    if not ordered:
        raise UserError("source.filters: no material of the Materials Project meets them")
    return Listing(database_version=version or rest.database_version, material_ids=tuple(ordered))


def _by_table(request: Request, open_data: OpenData) -> tuple[str | None, list[str]] | None:
    """List the whole database; None if its table cannot be read."""
    # A plain "<>" would also leave out every material whose licence is null.
    licence = f"builder_meta.license IS DISTINCT FROM '{NON_COMMERCIAL}'"
    if request.filters.include_non_commercial:
        licence = "true"

    def listed() -> tuple[str | None, list[str]]:
        version = open_data.table_version(BUILD_BUCKET, SUMMARY.table)
        condition = f"{of_version(version)} AND deprecated IS NOT TRUE AND {licence}"
        rows = open_data.rows(BUILD_BUCKET, SUMMARY.table, ["material_id"], condition)
        return version, [canonical_id(row["material_id"]) for row in rows]

    try:
        return patient_with(open_data, request.access.patience).call(listed)
    except (Refused, Unavailable) as error:
        tqdm.write(f"{error}: listing by REST")
        return None


def _by_rest(request: Request, rest: Rest) -> list[str]:
    filters, limit = request.filters, request.max_records
    criteria = filters.criteria()
    ids: list[str] = []
    if filters.material_ids:
        for batch in batches_of(filters.material_ids, IDS_PER_REQUEST):
            ids += rest.summary_ids(criteria, batch)
        return ids
    page = 1
    while found := rest.summary_page(criteria, page):
        ids += found
        page += 1
        if limit is not None and len(ids) >= limit:
            break
    return ids
