"""A real S3 (moto) in a process of its own, with faults in front of it.

Its own process, since deltalake holds Python's lock while it reads: a server in the same process
could not answer. ``POST /_faults`` takes ``{"match", "kind", "times"}``; ``GET /_log`` gives the
GETs by key and the faults made, by kind; ``POST /_reset`` forgets both. Prints its port.
"""

import collections
import json
import logging
import time

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

FAULTS = []
GETS = collections.Counter()
INJECTED = collections.Counter()


class WithFaults:
    def __init__(self, application):
        self._application = application

    def __call__(self, environ, start_response):
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        if path == "/_faults":
            FAULTS.append(json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))))
            return self._json({}, start_response)
        if path == "/_reset":
            FAULTS.clear(), GETS.clear(), INJECTED.clear()
            return self._json({}, start_response)
        if path == "/_log":
            return self._json({"gets": GETS, "injected": INJECTED}, start_response)
        if method != "GET":
            return self._application(environ, start_response)
        GETS[path] += 1
        for fault in FAULTS:
            if fault["match"] in path and fault["times"] > 0:
                fault["times"] -= 1
                INJECTED[fault["kind"]] += 1
                return getattr(self, f"_{fault['kind']}")(environ, start_response)
        return self._application(environ, start_response)

    def _unavailable(self, _environ, start_response):
        start_response("503 Slow Down", [("Content-Length", "0")])
        return [b""]

    def _late(self, environ, start_response):
        time.sleep(0.3)
        return self._application(environ, start_response)

    def _cut(self, environ, start_response):
        """Promise the whole body and break off in the middle."""
        seen = []

        def start(status, headers, _exc_info=None):
            seen.append(status)
            start_response(status, [*headers, ("Connection", "close")])

        body = b"".join(self._application(environ, start))
        return [body[: len(body) // 2]]

    def _json(self, value, start_response):
        body = json.dumps(value).encode()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]


class KeepAlive(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"


if __name__ == "__main__":
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    application = WithFaults(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=KeepAlive)
    print(server.port, flush=True)
    server.serve_forever()
