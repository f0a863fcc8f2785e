"""Clients that send or read slowly are let go, and keep nobody else waiting."""

import asyncio
import socket
import threading
import time
from contextlib import contextmanager, suppress

import httpx2 as httpx
import pytest
import uvicorn
from click.testing import CliRunner

from omnimat.cli.main import main
from omnimat_dashboard.app import create_app
from omnimat_dashboard.connections import Patience, PatientProtocol

HALF = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "
POST = (
    b"POST /api/rows HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer token\r\n"
    b"Content-Length: 1000\r\n\r\n["
)
LIMIT_S = 30  # only ends what hangs


@contextmanager
def served(app, **patience):
    """Serve an application as ``serve`` does, and give its port."""
    protocol = type("Impatient", (PatientProtocol,), {"patience": Patience(**patience)})
    config = uvicorn.Config(app, http=protocol, ws="none", access_log=False, log_level="critical")
    server = uvicorn.Server(config)
    listening = socket.create_server(("127.0.0.1", 0), backlog=2048)
    run = threading.Thread(target=lambda: asyncio.run(server.serve([listening])))
    run.start()
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        run.join(LIMIT_S)
        listening.close()


@pytest.fixture
def app(storage):
    return create_app(storage.url, str(storage.root), "token")


def connect(port, data=b""):
    made = socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S)
    made.sendall(data)
    return made


def rest_of(connection):
    """Read until the server closes."""
    parts = []
    with connection, suppress(ConnectionResetError):
        while part := connection.recv(2**18):
            parts.append(part)
    return b"".join(parts)


def trickle(connection, until_s):
    while time.monotonic() < until_s:
        connection.sendall(b"x")
        time.sleep(0.05)


def is_well(port):
    return httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=LIMIT_S).text == "ok"


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"", b""),
        (b"G", b"HTTP/1.1 408 Request Timeout"),
        (HALF, b"HTTP/1.1 408 Request Timeout"),
        (POST, b"HTTP/1.1 408 Request Timeout"),
        (POST.replace(b"token", b"wrong"), b"HTTP/1.1 401 Unauthorized"),
    ],
)
def test_a_request_that_is_never_finished_is_ended(app, sent, answer):
    with served(app, head_s=0.3, body_s=0.3) as port:
        received = rest_of(connect(port, sent))
        assert received.startswith(answer)
        assert bool(received) == bool(answer)
        assert is_well(port)


def test_a_client_that_trickles_gains_no_time(app):
    with served(app, head_s=0.5) as port:
        connection, start_s = connect(port, HALF), time.monotonic()
        with connection, pytest.raises((BrokenPipeError, ConnectionResetError)):
            trickle(connection, start_s + LIMIT_S)


def test_half_sent_requests_keep_nobody_waiting(app):
    """More of them than connections are kept, and honest clients all the while."""
    num_slow = 300
    with served(app, head_s=2.0, body_s=2.0, max_connections=100) as port:
        slow = [connect(port, (HALF, POST, b"")[number % 3]) for number in range(num_slow)]
        assert all(is_well(port) for _ in range(20))
        received = [rest_of(connection) for connection in slow]
        assert is_well(port)
    reasons = [one.split(b"\r\n")[0] for one in received]
    waited_for, made_room = b"HTTP/1.1 408 Request Timeout", b"HTTP/1.1 503 Service Unavailable"
    # One that made room before its request was read gets no answer.
    assert set(reasons) <= {b"", waited_for, made_room}
    assert reasons.count(waited_for) <= 100


async def _endless(scope, receive, send):
    """An answer that is larger than all buffers on its way, whoever asks."""
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(400):
        await send({"type": "http.response.body", "body": bytes(2**18), "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def test_a_client_that_does_not_read_is_let_go():
    with served(_endless, answer_s=1.0) as port:
        request = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        lazy, eager = connect(port, request), connect(port, request)
        assert len(rest_of(eager)) > 400 * 2**18  # and may take longer than answer_s
        time.sleep(2.5)  # in which the lazy one reads nothing
        assert len(rest_of(lazy)) < 400 * 2**18


def test_connections_in_use_are_not_ended_for_new_ones(app):
    """When all are being answered, a new one is refused."""
    with served(_endless, max_connections=2) as port:
        request = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        busy = [connect(port, request) for _ in range(2)]
        assert all(connection.recv(1) for connection in busy)
        assert rest_of(connect(port)).startswith(b"HTTP/1.1 503 Service Unavailable")
        assert all(connection.recv(1) for connection in busy)
        for connection in busy:
            connection.close()


@pytest.mark.parametrize(
    "path", ["/", "/healthz", "/metrics", "/runs", "/datasets", "/api/boards", "/static/site.css"]
)
def test_head_is_get_without_its_body(client, path):
    whole, head = client.get(path), client.head(path)
    assert (head.status_code, head.content) == (whole.status_code, b"") == (200, b"")
    # A page of runs says how long ago they were: its compressed length may change from one request
    # to the next.
    passing = dict.fromkeys(("date", "content-length") if path == "/runs" else ("date",), "")
    assert {**head.headers, **passing} == {**whole.headers, **passing}


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/", "GET, HEAD, OPTIONS"),
        ("/board/0", "GET, HEAD, OPTIONS"),
        ("/api/rows", "GET, POST, HEAD, OPTIONS"),
        ("/api/openapi.json", "GET, HEAD, OPTIONS"),
    ],
)
def test_options_and_405_say_what_is_allowed(client, path, allowed):
    answer = client.options(path)
    assert (answer.status_code, answer.headers["allow"], answer.content) == (204, allowed, b"")
    for method in ("PUT", "DELETE", "PATCH", "TRACE", "MADE-UP"):
        answer = client.request(method, path)
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


def test_what_is_not_there_has_no_methods(client):
    for method in ("GET", "HEAD", "OPTIONS", "PUT"):
        answer = client.request(method, "/nowhere")
        assert (answer.status_code, "allow" in answer.headers) == (404, False)
    assert client.options("/", headers={"Host": "evil.example"}).status_code == 400


def test_an_address_where_nobody_can_listen_is_a_sentence(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for where in (["--port", port], ["--host", "203.0.113.9"], ["--host", "no such host"]):
            runner = CliRunner(env={"OMNIMAT_STORAGE": str(tmp_path)})
            result = runner.invoke(main, ["leaderboard", "serve", *where])
            assert result.exit_code == 2
            assert where[1] in result.stderr
            assert "choose another address or port" in result.stderr
