"""The JSON interface: everybody may read, and whoever has the token may write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import TypeAdapter, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from omnimat.base import strict_json
from omnimat.base.settings import first_mistake
from omnimat.leaderboard.row import Row
from omnimat.leaderboard.store import LeaderboardStore
from omnimat.leaderboard.unusable import UnusableError
from omnimat_dashboard.board import as_json, row_record
from omnimat_dashboard.catalogue import Catalogue
from omnimat_dashboard.metrics import Metrics
from omnimat_dashboard.security import is_token

MAX_BODY_BYTES = 32 * 2**20

_ROWS = TypeAdapter(list[Row])


def api_router(catalogue: Catalogue, metrics: Metrics, token: str | None) -> APIRouter:
    """Build the routes under ``/api``."""
    router = APIRouter(prefix="/api")

    @router.get("/boards")
    def boards() -> list[dict[str, Any]]:
        """List the boards with their counts, and after them those of means over folds."""
        found = [*catalogue.boards(), *catalogue.boards_of_means()]
        ids = ({"board_id": one.board.board_id} for one in found)
        return [name | record for name, record in zip(ids, as_json(found), strict=True)]

    @router.get("/summaries")
    def summaries(board: str) -> list[dict[str, Any]]:
        """Give the results of a board by its ``board_id``: averaged over seeds, best first.

        Those of a board of means over folds are such means, as the pages show them.
        """
        found = catalogue.contest(board)
        if found is None:
            raise HTTPException(404, f"no board has the id {board!r}; /api/boards lists them")
        return as_json(found.ranked)

    @router.get("/rows")
    def rows(
        group_id: str | None = None, task: str | None = None, run_name: str | None = None
    ) -> list[dict[str, Any]]:
        """Give the rows of a result, a task or a run, each with all its proof.

        Those of a mean over folds are the rows of all its folds.
        """
        if group_id is None and task is None and run_name is None:
            raise HTTPException(422, "name a group_id, a task or a run_name")
        ids: Sequence[str | None] = [None] if group_id is None else catalogue.averaged(group_id)
        found = (catalogue.store.rows(group_id=one, task=task, run_name=run_name) for one in ids)
        return [row_record(row) for rows in found for row in rows]

    @router.post("/rows")
    async def write(request: Request) -> dict[str, int]:
        """Write all the rows or none of them; a checked row is never replaced by another."""
        with metrics.post():
            _check_token(request, token)
            body = await read_body(request, MAX_BODY_BYTES)
            return {"written": await run_in_threadpool(_write, catalogue.store, body)}

    return router


def _write(store: LeaderboardStore, body: bytes) -> int:
    """Write the rows of a body, and say how many they are; a large body takes seconds."""
    new = _read_rows(body)
    try:
        store.upsert(new)
    except UnusableError as error:
        raise HTTPException(503, str(error)) from error
    except ValueError as error:
        raise HTTPException(422, str(error)) from error
    return len(new)


def _check_token(request: Request, token: str | None) -> None:
    if token is None:
        raise HTTPException(
            403, "this server only reads; start it with a token to let it write rows"
        )
    if not is_token(request.headers.get("authorization", ""), token):
        raise HTTPException(
            401,
            "send the server's token: Authorization: Bearer <token>",
            headers={"WWW-Authenticate": "Bearer"},
        )


async def read_body(request: Request, max_bytes: int) -> bytes:
    """Read a body of limited size, whatever its header says.

    Raises:
        HTTPException: it is larger, or ends early.
    """
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > max_bytes:
                raise HTTPException(413, f"send at most {max_bytes} bytes at a time")
    except ClientDisconnect as error:
        raise HTTPException(400, "the body ended early; send it again") from error
    return bytes(body)


def _read_rows(body: bytes) -> list[Row]:
    try:
        strict_json.check(body)
        return _ROWS.validate_json(body)
    except ValidationError as error:
        raise HTTPException(422, f"{first_mistake(error)}; send a list of rows") from error
    except ValueError as error:
        raise HTTPException(422, f"{error}; send a list of rows") from error
