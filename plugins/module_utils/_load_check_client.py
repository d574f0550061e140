# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many requests at the same time, each with its own clock: one event loop, and no more work for a byte than its time needs.

Every wait is bounded: whatever the server does, a request ends after `request_timeout`, and the load soon after its last one.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import cast

from ansible_collections.baremetal.llm.plugins.module_utils._http import Server, check_key, tls_context
from ansible_collections.baremetal.llm.plugins.module_utils._listeners import endpoint
from ansible_collections.baremetal.llm.plugins.module_utils._load_check_answer import Answer, BrokenAnswerError
from ansible_collections.baremetal.llm.plugins.module_utils._load_check_figures import Sample
from ansible_collections.baremetal.llm.plugins.module_utils._load_check_http import IncomingResponse, NotHttpError

clock = time.monotonic
_PAUSE, _LONGEST_PAUSE = 0.1, 1.0  # seconds after a request that failed
_FEWEST_FAILURES = 3  # and at least one for each that may run at once, before a server that never answered is given up
_SPARE_FILES = 64
_TICK_SECONDS = 0.5


@dataclass(frozen=True)
class Load:
    """How much is asked at once, and for how long; times are seconds."""

    parallel: int
    seconds: float
    warm_up: float
    request_timeout: float
    stream: bool = True


@dataclass
class Tally:
    """How far it is."""

    seconds: float = 0.0
    succeeded: int = 0
    failed: int = 0
    tokens: int = 0


@dataclass
class Outcome:
    samples: list[Sample] = field(default_factory=list)
    opened: float = 0.0
    closed: float = 0.0
    cpu_seconds: float = 0.0
    cpu_wall: float = 0.0
    """Seconds of the clock in which the CPU time was spent."""


class Caller:
    """Posts to one path of a server. Its name is resolved for the first connection only, so that no request waits for a resolver."""

    def __init__(self, server: Server, path: str, *, api_key: str | None = None, validate_certs: bool = True, reuse: bool = False) -> None:
        check_key(api_key)
        port = server.port or (443 if server.https else 80)
        self._host, self._port = server.host, port
        self._name = server.host if server.https else None
        self._tls = tls_context(validate_certs) if server.https else None
        self.reuse = reuse
        lines = [
            f"POST {server.prefix}{path} HTTP/1.1",
            f"Host: {endpoint(server.host, port)}",
            "Content-Type: application/json",
            "Accept-Encoding: identity",
            f"Connection: {'keep-alive' if reuse else 'close'}",
            *([f"Authorization: Bearer {api_key}"] if api_key else []),
        ]
        self._head = "\r\n".join(lines).encode("latin-1")

    def message(self, body: bytes) -> bytes:
        return self._head + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body

    async def connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        transport, connection = await loop.create_connection(Connection, self._host, self._port, ssl=self._tls, server_hostname=self._name)
        if peer := transport.get_extra_info("peername"):  # unless it has gone again
            self._host = peer[0]
        return connection


class Connection(asyncio.Protocol):
    """One connection, with one request on it at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[float] | None = None
        self._response = IncomingResponse()
        self._answer: Answer | None = None
        self.silent = True
        """Whether nothing has come yet in answer to the last request."""
        self.usable = True

    def ask(self, message: bytes, answer: Answer) -> asyncio.Future[float]:
        """The time when the answer was whole; it is in `answer` then."""
        self._waiter = asyncio.get_running_loop().create_future()
        self._response, self._answer, self.silent = IncomingResponse(), answer, True
        if self._transport is None or self._transport.is_closing():
            self.connection_lost(None)
        else:
            self._transport.write(message)
        return self._waiter

    def close(self) -> None:
        self.usable = False
        self._answer = None
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # of a connection over TCP it always is one

    def data_received(self, data: bytes) -> None:
        now = clock()
        if self._answer is None:  # nobody asked
            self.close()
            return
        self.silent = False
        try:
            body = self._response.feed(data)
            if body:
                self._answer.feed(self._response.status, body, now)
            if self._response.complete:
                self.usable = self._response.reusable
                self._end(now)
        except NotHttpError as error:
            self._fail(BrokenAnswerError("not_http", str(error)))
        except BrokenAnswerError as error:
            self._fail(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self.usable = False
        if self._answer is None:
            return
        try:
            if not self._response.ended():
                raise BrokenAnswerError("connection_closed", "the server closed the connection before its answer was whole")
            self._end(clock())
        except BrokenAnswerError as error:
            self._fail(error)

    def _end(self, now: float) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.end(self._response.status)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(now)

    def _fail(self, error: BrokenAnswerError) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)
        self.close()


class Requester:
    """One who asks again and again, as a client does; keeps its connection where that is wanted."""

    def __init__(self, caller: Caller, load: Load) -> None:
        self._caller, self._load = caller, load
        self._connection: Connection | None = None

    async def ask(self, body: bytes) -> Sample:
        """One request, which never fails but says how it went."""
        answer = Answer(stream=self._load.stream)
        message = self._caller.message(body)
        error, detail = None, ""
        began = clock()
        try:
            with _limit(self._load.request_timeout):
                ended = await self._exchange(message, answer)
        except BrokenAnswerError as broken:
            ended, error, detail = clock(), broken.kind, str(broken)
        if error or self._connection is None or not (self._caller.reuse and self._connection.usable):
            self.close()
        return Sample(began, ended, answer.arrivals, answer.prompt_tokens, answer.completion_tokens, error, detail)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    async def _exchange(self, message: bytes, answer: Answer) -> float:
        kept = self._connection
        if kept is not None:
            try:
                return await kept.ask(message, answer)
            except BrokenAnswerError:
                if not kept.silent:
                    raise
                # The server has closed an idle connection meanwhile, which no client takes for a failure.
        self._connection = await _connected(self._caller)
        return await self._connection.ask(message, answer)


async def _connected(caller: Caller) -> Connection:
    try:
        return await caller.connect()
    except ConnectionRefusedError:
        raise BrokenAnswerError("connection_refused", "the connection is refused: nothing listens there") from None
    except ssl.SSLError as error:
        raise BrokenAnswerError("tls_failed", f"TLS failed: {error.reason or error}") from None
    except socket.gaierror as error:
        raise BrokenAnswerError("name_not_resolved", str(error.strerror)) from None
    except OSError as error:
        raise BrokenAnswerError("not_connected", f"there is no connection: {error.strerror or error}") from None


@contextlib.contextmanager
def _limit(seconds: float) -> Iterator[None]:
    """End what is awaited in here after so many seconds, all of it together."""
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("a limit is for what runs in a task")
    expired = False

    def expire() -> None:
        nonlocal expired
        expired = True
        task.cancel()

    timer = asyncio.get_running_loop().call_later(seconds, expire)
    try:
        yield
    except asyncio.CancelledError:
        if not expired:
            raise
        raise BrokenAnswerError("timeout", f"not answered within {seconds:g} s") from None
    finally:
        timer.cancel()


def ask_once(caller: Caller, load: Load, body: bytes) -> Sample:
    async def once() -> Sample:
        requester = Requester(caller, load)
        try:
            return await requester.ask(body)
        finally:
            requester.close()

    return asyncio.run(once())


def run(caller: Caller, load: Load, next_body: Callable[[], bytes], on_tick: Callable[[Tally], None] = lambda tally: None) -> Outcome:
    """Ask for as long as the load says; `on_tick` is told now and then how far it is."""
    _allow_files(load.parallel + _SPARE_FILES)
    return asyncio.run(_Run(caller, load, next_body, on_tick).run())


class _Run:
    def __init__(self, caller: Caller, load: Load, next_body: Callable[[], bytes], on_tick: Callable[[Tally], None]) -> None:
        self._caller, self._load, self._next_body, self._on_tick = caller, load, next_body, on_tick
        self._outcome = Outcome()
        self._tally = Tally()
        self._closes = 0.0

    async def run(self) -> Outcome:
        load, outcome, loop = self._load, self._outcome, asyncio.get_running_loop()
        began, cpu = clock(), time.process_time()
        outcome.opened = began + load.warm_up
        self._closes = outcome.opened + load.seconds

        def close() -> None:
            now = clock()
            outcome.closed = min(now, self._closes)
            outcome.cpu_seconds, outcome.cpu_wall = time.process_time() - cpu, now - began

        closing = loop.call_at(self._closes, close)
        ticking = loop.create_task(self._tick(began))
        try:
            await asyncio.gather(*(self._worker(index) for index in range(load.parallel)))
        finally:
            closing.cancel()
            ticking.cancel()
        if not outcome.closed:  # given up early
            close()
        if outcome.closed <= outcome.opened:  # in the warm-up even
            outcome.opened = began
        return outcome

    async def _worker(self, index: int) -> None:
        # One after the other, as clients come; started together, they would stay in step and disturb each other all the time.
        await asyncio.sleep(self._load.warm_up * index / self._load.parallel)
        requester = Requester(self._caller, self._load)
        failures = 0
        try:
            while clock() < self._closes and not self._hopeless():
                sample = await requester.ask(self._next_body())
                self._outcome.samples.append(sample)
                self._count(sample)
                failures = failures + 1 if sample.error else 0
                if failures:
                    await asyncio.sleep(max(0.0, min(_PAUSE * 2 ** min(failures - 1, 8), _LONGEST_PAUSE, self._closes - clock())))
        finally:
            requester.close()

    def _hopeless(self) -> bool:
        """A server that refuses everything, or answers nothing, does so also later."""
        return not self._tally.succeeded and self._tally.failed >= max(_FEWEST_FAILURES, self._load.parallel)

    def _count(self, sample: Sample) -> None:
        self._tally.succeeded += not sample.error
        self._tally.failed += bool(sample.error)
        self._tally.tokens += sample.tokens

    async def _tick(self, began: float) -> None:
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            self._tally.seconds = clock() - began
            self._on_tick(self._tally)


def _allow_files(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count <= hard or (hard == resource.RLIM_INFINITY and soft < count):
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
