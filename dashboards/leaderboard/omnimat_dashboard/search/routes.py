"""The page of a search, asked by words in its address or by a file in the body."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException

from omnimat.base.errors import UserError
from omnimat_dashboard.api import read_body
from omnimat_dashboard.links import Links
from omnimat_dashboard.pages import Pages
from omnimat_dashboard.search.question import Question
from omnimat_dashboard.search.searcher import MAX_FILE_BYTES, plain_name


def search_router(pages: Pages, links_of: Callable[[Request], Links]) -> APIRouter:
    """Build the routes of the search, which changes nothing and keeps nothing."""
    router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)

    @router.get("/search")
    def search(request: Request) -> Response:
        asked = replace(Question.of(request.query_params.multi_items()), file="")
        return _answer(pages, links_of(request), asked, None)

    @router.post("/search")
    async def search_file(request: Request) -> Response:
        content = await read_body(request, MAX_FILE_BYTES)
        given = Question.of(request.query_params.multi_items())
        try:
            asked = replace(given, file=plain_name(given.file), near="")
        except UserError as error:
            raise HTTPException(422, str(error)) from error
        return await run_in_threadpool(_answer, pages, links_of(request), asked, content)

    return router


def _answer(pages: Pages, links: Links, asked: Question, content: bytes | None) -> Response:
    """Answer, or say on the same page why not; browsers would report another status as a fault."""
    return HTMLResponse(pages.search(links, asked, content))
