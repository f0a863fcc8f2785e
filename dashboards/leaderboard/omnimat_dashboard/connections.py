"""Connections of clients that may be slow on purpose: none is waited for without end.

uvicorn bounds how long a connection may be idle between two requests, but neither how long a client
may take to send a request, nor to take its answer. It has no limit of connections either.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a client is waited for, and how many at once.

    Attributes:
        head_s: how long it may take to send the head of a request.
        body_s: how long it may take from there to the end of the body.
        answer_s: how long it may take to read the next ``answer_bytes`` of its answer.
        answer_bytes: see there.
        max_connections: how many connections are kept open.
    """

    head_s: float = 15.0
    body_s: float = 60.0
    answer_s: float = 30.0
    answer_bytes: int = 30_000
    max_connections: int = 400


# asyncio accepts as many at once, before it lets one of them go. Together with those that are kept
# they are fewer than the 1,024 files that a process may open on most machines.
BACKLOG = 256


class PatientProtocol(H11Protocol):
    """HTTP/1.1 of uvicorn with deadlines. Beyond the limit, whoever has waited longest goes."""

    patience: ClassVar[Patience] = Patience()
    _deadline: asyncio.TimerHandle | None = None
    _stall: asyncio.TimerHandle | None = None
    _awaited: type[h11.IDLE] | type[h11.SEND_BODY] | None = None
    since_s = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)  # so that whatever is not sent yet is known
        self._watch()
        if len(self.connections) > self.patience.max_connections:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        for timer in (self._deadline, self._stall):
            if timer is not None:
                timer.cancel()
        self._awaited = None
        super().connection_lost(exc)

    @property
    def is_waiting(self) -> bool:
        """Whether it is the client's turn."""
        return self._awaited is not None

    def data_received(self, data: bytes) -> None:
        """Take in a part of a request; a part does not move the deadline."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Begin to wait for the next request."""
        self._awaited = None
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        """Begin to wait for the client to read."""
        super().pause_writing()
        if self._stall is None:
            self._expect_progress()

    def resume_writing(self) -> None:
        """Note that the client has read everything."""
        super().resume_writing()
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def _watch(self) -> None:
        """Set a deadline if a head or a body is awaited that was not before."""
        if self.transport.is_closing():
            return
        state = self.conn.their_state
        awaited = state if state in {h11.IDLE, h11.SEND_BODY} else None
        if awaited is self._awaited:
            return
        if self._deadline is not None:
            self._deadline.cancel()
        self._awaited, self._deadline, self.since_s = awaited, None, self.loop.time()
        if awaited is not None:
            limit_s = self.patience.head_s if awaited is h11.IDLE else self.patience.body_s
            self._deadline = self.loop.call_later(limit_s, self._end, 408)

    def _end(self, status: int) -> None:
        """Say why if a request has begun and no answer has, and close."""
        has_begun = self._awaited is h11.SEND_BODY or self.conn.trailing_data[0] or status == 503
        is_answered = self._awaited is h11.SEND_BODY and self.cycle.response_started
        if has_begun and not is_answered and not self.transport.is_closing():
            reason = {408: b"408 Request Timeout", 503: b"503 Service Unavailable"}[status]
            head = b"HTTP/1.1 %b\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            self.transport.write(head % reason)
        self._awaited = None
        self.transport.close()

    def _make_room(self) -> None:
        """Let go whose turn it has been for longest, or else this newcomer."""
        others = (one for one in self.connections if isinstance(one, PatientProtocol))
        waiting = [one for one in others if one is not self and one.is_waiting]
        (min(waiting, key=lambda one: one.since_s) if waiting else self)._end(503)

    def _expect_progress(self) -> None:
        left = self.transport.get_write_buffer_size()
        self._stall = self.loop.call_later(self.patience.answer_s, self._check_progress, left)

    def _check_progress(self, before: int) -> None:
        left = self.transport.get_write_buffer_size()
        if left > 0 and before - left < self.patience.answer_bytes:
            self.transport.abort()
        else:
            self._expect_progress()
