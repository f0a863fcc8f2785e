"""Start the server."""

from __future__ import annotations

import socket

import uvicorn

from omnimat.base.errors import UserError
from omnimat_dashboard.app import create_app
from omnimat_dashboard.connections import BACKLOG, PatientProtocol


def serve(
    url: str,
    storage: str | None = None,
    host: str = "127.0.0.1",
    port: int = 8600,
    token: str | None = None,
) -> None:
    """Serve the leaderboard until interrupted.

    Args:
        url: the URL of the leaderboard's database.
        storage: the folder or URI that holds runs and data sets; None for the default one.
        host: the address to listen on; any but loopback shows the leaderboard to the network.
        port: the port to listen on; 0 for any that is free.
        token: whoever sends it may write rows; without a token nobody can.

    Raises:
        UserError: the token is empty, the database cannot be used, or nobody can listen there.
    """
    _check_free(host, port)
    app = create_app(url, storage, token, host)
    uvicorn.run(
        app,
        host=host,
        port=port,
        http=PatientProtocol,
        ws="none",
        backlog=BACKLOG,
        access_log=False,
        server_header=False,
    )


def _check_free(host: str, port: int) -> None:
    """Say in a sentence what uvicorn would log in the middle of its own lines."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        socket.create_server(address[:2], family=family).close()
    except OSError as error:
        raise UserError(
            f"--host {host} --port {port}: nobody can listen there ({error.strerror}); choose "
            "another address or port"
        ) from error
