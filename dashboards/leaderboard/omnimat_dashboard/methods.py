"""HEAD, OPTIONS and ``Allow``, which FastAPI leaves to each route."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.routing import Match, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


class Methods:
    """Answers HEAD as GET without its body, and OPTIONS and a wrong method with those allowed."""

    def __init__(self, app: ASGIApp, router: Router) -> None:
        """Wrap an application that has these routes."""
        self._app = app
        self._router = router

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, unless it asks for the methods."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        allowed = self._allowed(scope)
        if scope["method"] == "OPTIONS" and allowed:
            answer = Response(status_code=204, headers={"Allow": ", ".join(allowed)})
            await answer(scope, receive, send)
            return
        is_head = scope["method"] == "HEAD"

        async def send_as_asked(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 405:
                MutableHeaders(scope=message)["Allow"] = ", ".join(allowed)
            if message["type"] == "http.response.body" and is_head:
                message = {**message, "body": b""}
            await send(message)

        await self._app({**scope, "method": "GET"} if is_head else scope, receive, send_as_asked)

    def _allowed(self, scope: Scope) -> list[str]:
        """Give the methods of the address; none if there is nothing there."""
        if scope["path"] == "*":
            found = list(_METHODS[:2])
        else:
            found = [method for method in _METHODS if self._has(scope, method)]
        head = ["HEAD"] if "GET" in found else []
        return [*found, *head, "OPTIONS"] if found else []

    def _has(self, scope: Scope, method: str) -> bool:
        asked = {**scope, "method": method}
        return any(route.matches(asked)[0] is Match.FULL for route in self._router.routes)
