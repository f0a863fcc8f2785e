"""The pages of materials."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException

from omnimat_dashboard.links import Links
from omnimat_dashboard.pages import Pages


def material_router(pages: Pages, links_of: Callable[[Request], Links]) -> APIRouter:
    """Build the routes of single materials, which no static site has."""
    router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)

    @router.get("/materials/{dataset}")
    def materials(request: Request, dataset: str, q: str = "") -> Response:
        return _html(pages.materials_of(links_of(request), dataset, q))

    @router.get("/materials/{dataset}/{material_id}")
    def material(request: Request, dataset: str, material_id: str) -> Response:
        return _html(pages.material(links_of(request), dataset, material_id))

    return router


def _html(page: str | None) -> HTMLResponse:
    if page is None:
        raise HTTPException(404, "No data set here has a material of this address.")
    return HTMLResponse(page)
