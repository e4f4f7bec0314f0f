"""Takes the steps of a program on the network, for plain code."""

import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, suppress
from typing import TypeVar

import httpx

from selsa_client.http.exchange import (
    Answer,
    Asking,
    AtExit,
    Give,
    HangUp,
    LinkError,
    Pause,
    Program,
    Receive,
    Reply,
    Request,
    Send,
    Step,
)
from selsa_client.http.stepping import Stepping
from selsa_client.http.transport import (
    FAREWELL_TIMEOUT,
    plain_arguments,
    receiving,
    sending,
    upload_arguments,
)
from selsa_client.http.upload import UploadSource
from selsa_client.wire.errors import SelsaError

T = TypeVar("T")
R = TypeVar("R")


class Driver:
    """Runs programs on an `httpx.Client`. Threads may share it; a program belongs to one thread."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def ask(self, program: Asking[R]) -> R:
        """Run a program to its result."""
        stepping: Stepping[object, R] = Stepping(program)
        for _ in self._steps(stepping):
            pass
        return stepping.result

    def run(self, program: Program[T]) -> Generator[T, None, None]:
        """What a program gives, as it comes. Closing this drops the connection."""
        return self._steps(Stepping(program))

    def _steps(self, stepping: Stepping[T, R]) -> Generator[T, None, None]:
        link = _Link(self._http)
        try:
            while (step := stepping.next()) is not None:
                if isinstance(step, Give):
                    yield step.item
                    continue
                try:
                    stepping.reply = link.take(step)
                except LinkError as error:
                    stepping.failure = error
        finally:
            stepping.close()
            link.close()


class _Link:
    """The answer that a program is at."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http
        self._response: httpx.Response | None = None
        self._chunks: Iterator[bytes] = iter(())
        self._at_exit: Request | None = None

    def take(self, step: Step) -> Reply:
        match step:
            case Send(request):
                self._hang_up()
                return self._send(request)
            case Receive():
                with receiving():
                    return next(self._chunks, b"")
            case HangUp():
                self._hang_up()
            case Pause(seconds):
                # What nobody reads on need not stay open meanwhile.
                self._hang_up()
                time.sleep(seconds)
            case AtExit(request):
                self._at_exit = request
        return None

    def close(self) -> None:
        self._hang_up()
        if self._at_exit is not None:
            with suppress(LinkError, SelsaError):
                self._send(self._at_exit, FAREWELL_TIMEOUT)
            self._hang_up()

    def _send(self, request: Request, timeout: float | None = None) -> Answer:
        with ExitStack() as stack, sending(self._http.base_url):
            if isinstance(request.body, UploadSource):
                upload = stack.enter_context(request.body.attempt())
                more = upload_arguments(request, upload, asynchronous=False)
            else:
                more = plain_arguments(request)
            built = self._http.build_request(request.method, request.path, params=request.query, **more)
            if timeout is not None:
                built.extensions["timeout"] = httpx.Timeout(timeout).as_dict()
            self._response = self._http.send(built, stream=True)
        self._chunks = self._response.iter_bytes()
        return Answer(self._response.status_code, self._response.headers)

    def _hang_up(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response, self._chunks = None, iter(())
