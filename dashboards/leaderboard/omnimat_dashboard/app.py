"""The server: pages, their files and the JSON interface, all made from the same views."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from omnimat import __version__
from omnimat.base.errors import RunError, UserError
from omnimat.base.workspace import Workspace
from omnimat.leaderboard.store import LeaderboardStore
from omnimat_dashboard.api import api_router
from omnimat_dashboard.artifacts import DATASET_FILES
from omnimat_dashboard.assets import NAMES, asset, fingerprint_of_assets
from omnimat_dashboard.board import as_csv, as_json
from omnimat_dashboard.latex import as_latex
from omnimat_dashboard.links import Links
from omnimat_dashboard.materials.routes import material_router
from omnimat_dashboard.methods import Methods
from omnimat_dashboard.metrics import MEDIA_TYPE as METRICS_MEDIA_TYPE
from omnimat_dashboard.metrics import Metrics
from omnimat_dashboard.pages import Pages
from omnimat_dashboard.query import Query
from omnimat_dashboard.search.routes import search_router
from omnimat_dashboard.security import (
    SecurityHeaders,
    allowed_hosts,
    check_token,
    content_security_policy,
)

_MEDIA_TYPES = {"json": "application/json", "jsonl": "application/x-ndjson"}
_FOREVER = "public, max-age=31536000, immutable"
_MIN_GZIP_BYTES = 1000


def create_app(
    url: str, storage: str | None = None, token: str | None = None, host: str = "127.0.0.1"
) -> FastAPI:
    """Build the application.

    Args:
        url: the URL of the leaderboard's database.
        storage: the folder or URI that holds runs and data sets; None for the default one.
        token: whoever sends it may write rows; without a token nobody can.
        host: the address to listen on; on loopback the server answers only to its own names.

    Raises:
        UserError: the token is empty, or the database cannot be used.
    """
    check_token(token)
    store = LeaderboardStore(url)
    pages = Pages(store, Workspace.open(storage, url))
    metrics = Metrics(pages.catalogue)
    # FastAPI's interactive documentation would load its scripts from elsewhere.
    app = FastAPI(
        title="omnimat leaderboard",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        redirect_slashes=False,
    )
    app.add_middleware(GZipMiddleware, minimum_size=_MIN_GZIP_BYTES, compresslevel=5)
    app.add_middleware(Methods, router=app.router)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=allowed_hosts(host))
    app.add_middleware(SecurityHeaders)
    for router in (_page_router(pages), _storage_router(pages), _download_router(pages)):
        app.include_router(router)
    app.include_router(material_router(pages, _links))
    app.include_router(search_router(pages, _links))
    app.include_router(_file_router(pages, metrics))
    app.include_router(api_router(pages.catalogue, metrics, token))
    _explain_errors(app, pages)
    return app


def _page_router(pages: Pages) -> APIRouter:
    router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)

    @router.get("/")
    def overview(request: Request) -> Response:
        query = Query.of(request.query_params)
        return _cached(request, pages, lambda: _html(pages.overview(_links(request), query)))

    @router.get("/board/{board_id}")
    def board(request: Request, board_id: str) -> Response:
        query = Query.of(request.query_params)
        links = _links(request)
        return _cached(request, pages, lambda: _html(pages.board(links, board_id, query)))

    @router.get("/result/{group_id}")
    def result(request: Request, group_id: str) -> Response:
        return _html(pages.result(_links(request), group_id))

    @router.get("/models")
    def models(request: Request) -> Response:
        query = Query.of(request.query_params)
        return _html(pages.models(_links(request), query))

    @router.get("/models/{slug}")
    def model(request: Request, slug: str, recipe: str = "", against: str = "") -> Response:
        return _html(pages.model(_links(request), slug, recipe, against))

    @router.get("/compare")
    def compare(request: Request, a: str = "", b: str = "") -> Response:
        some = request.query_params.getlist("of")
        if len(some) > 2:
            return _html(pages.several(_links(request), some))
        return _html(pages.compare(_links(request), *(some if len(some) == 2 else (a, b))))

    return router


def _storage_router(pages: Pages) -> APIRouter:
    """Pages of what lies in the storage, whether or not the leaderboard knows it."""
    router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)

    @router.get("/datasets")
    def datasets(request: Request) -> Response:
        return _html(pages.datasets(_links(request)))

    @router.get("/dataset/{name}")
    def dataset(request: Request, name: str) -> Response:
        return _html(pages.dataset(_links(request), name))

    @router.get("/runs")
    def runs(request: Request) -> Response:
        return _html(pages.runs(_links(request)))

    @router.get("/together")
    def together(request: Request) -> Response:
        names = request.query_params.getlist("run")
        return _html(pages.together(_links(request), names))

    @router.get("/run/{name}")
    def run(request: Request, name: str) -> Response:
        return _html(pages.run(_links(request), name))

    @router.get("/maps")
    def maps(request: Request) -> Response:
        return _html(pages.maps(_links(request)))

    @router.get("/map/{run}")
    @router.get("/map/{run}/{name}")
    def embedding_map(request: Request, run: str, name: str | None = None) -> Response:
        answer = _html(pages.map(_links(request), run, name))
        answer.headers["Content-Security-Policy"] = content_security_policy(webgl=True)
        return answer

    return router


def _file_router(pages: Pages, metrics: Metrics) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/healthz")
    def health() -> PlainTextResponse:
        """Answer if the database answers."""
        pages.catalogue.store.version()
        return PlainTextResponse("ok")

    @router.get("/metrics")
    def prometheus() -> Response:
        return Response(metrics.text(), media_type=METRICS_MEDIA_TYPE)

    @router.get("/static/{name}")
    def static(request: Request, name: str) -> Response:
        if name not in NAMES:
            raise HTTPException(404)
        found = asset(name)
        headers = {"Cache-Control": _FOREVER, "Vary": "Accept-Encoding"}
        if "gzip" not in request.headers.get("accept-encoding", ""):
            return Response(found.content, media_type=found.media_type, headers=headers)
        headers["Content-Encoding"] = "gzip"
        return Response(found.compressed, media_type=found.media_type, headers=headers)

    return router


def _download_router(pages: Pages) -> APIRouter:
    router = APIRouter(include_in_schema=False)
    catalogue, artifacts = pages.catalogue, pages.artifacts

    @router.get("/dataset/{name}/{file}")
    def dataset_file(name: str, file: str) -> Response:
        if name not in artifacts.datasets() or file not in DATASET_FILES:
            raise HTTPException(404)
        found = artifacts.dataset_file(name, file)
        if found.value is None:
            raise HTTPException(404, found.reason)
        media_type = _MEDIA_TYPES.get(file.rpartition(".")[2], "application/octet-stream")
        return Response(found.value, media_type=media_type, headers=_attachment(file))

    @router.get("/package/{file}")
    def package(file: str) -> Response:
        found = pages.packages.archive(file)
        if found.value is None:
            raise HTTPException(404, found.reason)
        return Response(found.value, media_type="application/zip", headers=_attachment(file))

    @router.get("/download/{board_id}.{kind}")
    def board_file(request: Request, board_id: str, kind: str) -> Response:
        contest = catalogue.contest(board_id)
        if contest is None or kind not in {"csv", "json", "tex"}:
            raise HTTPException(404)
        chosen = Query.of(request.query_params).chosen(contest.ranked)
        headers = _attachment(f"{board_id}.{kind}")
        if kind == "json":
            return JSONResponse(as_json(chosen), headers=headers)
        if kind == "tex":
            table = as_latex(contest, chosen, pages.standing.of(contest))
            return Response(table, media_type="text/plain; charset=utf-8", headers=headers)
        return Response(as_csv(chosen), media_type="text/csv; charset=utf-8", headers=headers)

    return router


def _links(request: Request) -> Links:
    """Make links relative to the page, so that a proxy may serve it under any path."""
    return Links.at_depth(request.url.path.count("/") - 1, is_static=False)


def _html(page: str | None) -> HTMLResponse:
    if page is None:
        raise HTTPException(404)
    return HTMLResponse(page)


def _cached(request: Request, pages: Pages, answer: Callable[[], Response]) -> Response:
    """Answer only that nothing has changed if the browser has the present version."""

    def headers() -> dict[str, str]:
        version = f"{pages.catalogue.version}-{pages.standing.version}"
        tag = f'W/"{version}-{fingerprint_of_assets()}-{__version__}"'
        return {"ETag": tag, "Cache-Control": "no-cache"}

    before = headers()
    if before["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=before)
    response = answer()
    response.headers.update(headers())
    return response


def _attachment(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"'}


def _explain_errors(app: FastAPI, pages: Pages) -> None:
    """Say what is wrong as JSON or as a page, whichever was asked for."""

    def answer(request: Request, status: int, title: str, sentence: str) -> Response:
        if request.url.path.startswith("/api/"):
            return JSONResponse({"error": sentence}, status_code=status)
        page = pages.message(_links(request), title, sentence)
        return HTMLResponse(page, status_code=status)

    @app.exception_handler(HTTPException)
    def explain(request: Request, error: HTTPException) -> Response:
        if error.status_code == 404:
            sentence = "No result, data set or map has this address; it may have been removed."
            told = sentence if error.detail == "Not Found" else error.detail
            return answer(request, 404, "Not here", told)
        response = answer(request, error.status_code, "This cannot be done", error.detail)
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(RunError)
    def unavailable(request: Request, error: RunError) -> Response:
        return answer(request, 503, "This cannot be shown now", str(error))

    @app.exception_handler(UserError)
    def damaged(request: Request, error: UserError) -> Response:
        return answer(request, 500, "This cannot be shown", str(error))
