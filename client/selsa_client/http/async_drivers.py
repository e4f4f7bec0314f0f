"""Takes the steps of a program on the network, for asynchronous code on asyncio or trio."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import ExitStack, aclosing, suppress
from typing import TypeVar

import anyio
import anyio.to_thread
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


class AsyncDriver:
    """Runs programs on an `httpx.AsyncClient`. Tasks may share it; a program belongs to one task."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def ask(self, program: Asking[R]) -> R:
        """Run a program to its result."""
        stepping: Stepping[object, R] = Stepping(program)
        async with aclosing(self._steps(stepping)) as steps:
            async for _ in steps:
                pass
        return stepping.result

    def run(self, program: Program[T]) -> AsyncGenerator[T, None]:
        """What a program gives, as it comes. Closing this drops the connection."""
        return self._steps(Stepping(program))

    async def _steps(self, stepping: Stepping[T, R]) -> AsyncGenerator[T, None]:
        link = _AsyncLink(self._http)
        try:
            while (step := stepping.next()) is not None:
                if isinstance(step, Give):
                    yield step.item
                    continue
                try:
                    stepping.reply = await link.take(step)
                except LinkError as error:
                    stepping.failure = error
        finally:
            stepping.close()
            await link.close()


class _AsyncLink:
    """The answer that a program is at."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self._response: httpx.Response | None = None
        self._chunks: AsyncIterator[bytes] | None = None
        self._at_exit: Request | None = None

    async def take(self, step: Step) -> Reply:
        match step:
            case Send(request):
                await self._hang_up()
                return await self._send(request)
            case Receive():
                with receiving():
                    return b"" if self._chunks is None else await anext(self._chunks, b"")
            case HangUp():
                await self._hang_up()
            case Pause(seconds):
                await self._hang_up()
                await anyio.sleep(seconds)
            case AtExit(request):
                self._at_exit = request
        return None

    async def close(self) -> None:
        await self._hang_up()
        if self._at_exit is not None:
            # A task that is being cancelled may still say goodbye, but not for long.
            with anyio.move_on_after(FAREWELL_TIMEOUT, shield=True), suppress(LinkError, SelsaError):
                await self._send(self._at_exit)
                await self._hang_up()

    async def _send(self, request: Request) -> Answer:
        with ExitStack() as stack, sending(self._http.base_url):
            if isinstance(request.body, UploadSource):
                # Opening may ask a slow disk or another server.
                upload = await anyio.to_thread.run_sync(stack.enter_context, request.body.attempt())
                more = upload_arguments(request, upload, asynchronous=True)
            else:
                more = plain_arguments(request)
            built = self._http.build_request(request.method, request.path, params=request.query, **more)
            self._response = await self._http.send(built, stream=True)
        self._chunks = self._response.aiter_bytes()
        return Answer(self._response.status_code, self._response.headers)

    async def _hang_up(self) -> None:
        if self._response is not None:
            await self._response.aclose()
            self._response, self._chunks = None, None
