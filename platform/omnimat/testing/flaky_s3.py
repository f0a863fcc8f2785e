"""An S3 server for tests: moto behind a proxy that drops connections or answers 503 on demand."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NamedTuple

from omnimat.testing.ray_head import free_ports, start
from omnimat.testing.waiting import wait_for

Fault = Literal["reset", "cut", "unanswered", "slow down", "internal error", "forbidden"]

_ANSWERS: Mapping[Fault, tuple[int, str]] = MappingProxyType(
    {
        "slow down": (503, "SlowDown"),
        "internal error": (500, "InternalError"),
        "forbidden": (403, "AccessDenied"),
    }
)


class Request(NamedTuple):
    """A request that the server received.

    Attributes:
        method: HTTP method, such as GET or PUT.
        path: bucket, key and query, followed by a space and the range of bytes, if one was
            requested.
        fault: fault that the request met, or None.
    """

    method: str
    path: str
    fault: Fault | None


@dataclass
class FlakyS3:
    """A running server.

    Attributes:
        endpoint: URL of the proxy.
        requests: all requests so far, in order.
        choose: function of method and path that returns the fault that a request meets.
    """

    endpoint: str
    requests: list[Request] = field(default_factory=list)
    choose: Callable[[str, str], Fault | None] = lambda method, path: None

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables by which AWS clients find this server and try only once."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_MAX_ATTEMPTS": "1",
        }

    def faults(self) -> list[Fault]:
        """List the faults that requests have met."""
        return [request.fault for request in self.requests if request.fault is not None]

    @contextmanager
    def failing(self, choose: Callable[[str, str], Fault | None]) -> Iterator[None]:
        """Forget earlier requests and let new ones fail as ``choose(method, path)`` says."""
        self.requests.clear()
        self.choose = choose
        try:
            yield
        finally:
            self.choose = lambda method, path: None


@contextmanager
def flaky_s3(folder: Path) -> Iterator[FlakyS3]:
    """Start a server that stops at the end of the context and writes its log to the folder.

    Raises:
        RuntimeError: the server did not start; the message contains its log.
    """
    (moto_port,) = free_ports(1)
    command = [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1"]
    log = folder / "moto.log"
    moto = start([*command, "-p", str(moto_port)], os.environ, log, folder)
    try:
        _wait_until_up(moto, moto_port, log)
        proxy = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
        server = FlakyS3(f"http://127.0.0.1:{proxy.server_port}")
        proxy.RequestHandlerClass = _handler(server, moto_port)
        proxy.daemon_threads = True
        thread = threading.Thread(target=proxy.serve_forever, daemon=True)
        thread.start()
        yield server
        proxy.shutdown()
        proxy.server_close()
        thread.join()
    finally:
        moto.kill()
        moto.wait()


def _wait_until_up(moto: subprocess.Popen[bytes], port: int, log: Path) -> None:
    def is_up() -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        try:
            connection.request("GET", "/moto-api/")
            connection.getresponse().read()
        except OSError:
            return False
        finally:
            connection.close()
        return True

    wait_for(is_up, moto, log)


def _handler(server: FlakyS3, moto_port: int) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(size)
            path = f"{self.path} {self.headers.get('Range', '')}".strip()
            fault = server.choose(self.command, path)
            server.requests.append(Request(self.command, path, fault))
            if fault == "reset":
                self.close_connection = True
            elif fault in {None, "cut", "unanswered"}:
                self.forward(body, fault)
            else:
                self.refuse(*_ANSWERS[fault])

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer

        def refuse(self, status: int, code: str) -> None:
            text = f"<Error><Code>{code}</Code><Message>{code} here</Message></Error>".encode()
            self.send_response_only(status)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else text)

        def forward(self, body: bytes, fault: Fault | None) -> None:
            moto = http.client.HTTPConnection("127.0.0.1", moto_port)
            moto.request(self.command, self.path, body, dict(self.headers))
            response = moto.getresponse()
            content = response.read()
            moto.close()
            self.close_connection = self.close_connection or fault is not None
            if fault == "unanswered":
                return
            self.send_response_only(response.status)
            for name, value in response.getheaders():
                if name.lower() not in {"content-length", "transfer-encoding", "connection"}:
                    self.send_header(name, value)
            length = response.getheader("Content-Length") or str(len(content))
            self.send_header("Content-Length", length)
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if fault == "cut" else content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
