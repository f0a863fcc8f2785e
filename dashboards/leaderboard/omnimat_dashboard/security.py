"""What every answer tells the browser, and who may write."""

from __future__ import annotations

import secrets

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from omnimat.base.errors import UserError

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")  # as they stand in addresses of pages


def content_security_policy(*, webgl: bool = False, as_header: bool = True) -> str:
    """Give the policy: scripts and styles are files of this site, and nothing comes from elsewhere.

    Args:
        webgl: whether to allow what plotly's WebGL needs, which compiles its drawing commands with
            ``Function``; only pages with a map do.
        as_header: whether the policy is a header; a ``meta`` element may not say who frames a page.
    """
    directives = {
        "default-src": "'none'",
        "script-src": "'self' 'unsafe-eval'" if webgl else "'self'",
        "style-src": "'self'",
        # plotly makes subscripts and bold labels by style attributes, which can load nothing here.
        "style-src-attr": "'unsafe-inline'",
        "img-src": "'self' data: blob:",
        "connect-src": "'self'",
        "form-action": "'self'",
        "base-uri": "'none'",
    }
    if as_header:
        directives["frame-ancestors"] = "'none'"
    return "; ".join(f"{name} {value}" for name, value in directives.items())


class SecurityHeaders:
    """Adds the headers to every answer; a policy of the page itself stays."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an application."""
        self._app = app
        self._headers = _HEADERS | {"Content-Security-Policy": content_security_policy()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)


def check_token(token: str | None) -> None:
    """Refuse a token that everybody could guess.

    Raises:
        UserError: the token is empty.
    """
    if token is not None and not token.strip():
        raise UserError("the token is empty, so everybody could write: give one, or none at all")


def is_token(authorization: str, token: str) -> bool:
    """Say whether a request's ``Authorization`` carries the token, in constant time."""
    scheme, _, given = authorization.partition(" ")
    # Headers are decoded as Latin-1, whatever their bytes are.
    sent = given.strip().encode("latin-1")
    return scheme.lower() == "bearer" and secrets.compare_digest(sent, token.strip().encode())


def allowed_hosts(host: str) -> list[str]:
    """Give the names that this server answers to.

    On loopback these are only its own, so that a page from elsewhere whose name is made to point
    here can read nothing.
    """
    return [*LOOPBACK] if host in {*LOOPBACK, "::1"} else ["*"]
