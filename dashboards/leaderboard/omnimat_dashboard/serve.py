"""Start the server."""

from __future__ import annotations

import uvicorn

from omnimat_dashboard.app import create_app


def serve(
    url: str,
    storage: str | None = None,
    host: str = "127.0.0.1",
    port: int = 8600,
    token: str | None = None,
) -> None:
    """Serve the leaderboard until interrupted.

    Args:
        url: of the leaderboard's database.
        storage: folder or URI that holds runs and data sets; None for the default one.
        host: to listen on; anything but loopback shows the leaderboard to the network.
        port: to listen on; 0 for any that is free.
        token: allows whoever sends it to write rows; without one nobody can.

    Raises:
        UserError: the token is empty, or the database cannot be used.
    """
    app = create_app(url, storage, token, host)
    uvicorn.run(app, host=host, port=port, access_log=False, server_header=False)
