"""Start the server."""

from __future__ import annotations

import uvicorn

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
        UserError: the token is empty, or the database cannot be used.
    """
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
