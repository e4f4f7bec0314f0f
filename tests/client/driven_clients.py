"""Runs the same test on `Client` and `AsyncClient`, with a mock transport."""

import asyncio

import httpx

from selsa_client import AsyncClient, Client

NDJSON = {"Content-Type": "application/x-ndjson"}


class Plain:
    """Drives `Client`."""

    def __init__(self, handler, **settings):
        self.client = Client("http://server", transport=httpx.MockTransport(handler), **settings)

    def collect(self, source, **options):
        return self.client.detect(source, **options).collect()

    def frames(self, source):
        return list(self.client.detect(source))

    def call(self, name, *arguments, **named):
        """A method by its name, such as `jobs.get`."""
        return attribute(self.client, name)(*arguments, **named)

    def each(self, name, *arguments, **named):
        """What a method gives, as a list."""
        return list(self.call(name, *arguments, **named))


class Async:
    """Drives `AsyncClient`, with the same results."""

    def __init__(self, handler, **settings):
        self.client = AsyncClient("http://server", transport=httpx.MockTransport(handler), **settings)

    def collect(self, source, **options):
        return asyncio.run(self.client.detect(source, **options).collect())

    def frames(self, source):
        async def read():
            return [frame async for frame in self.client.detect(source)]

        return asyncio.run(read())

    def call(self, name, *arguments, **named):
        return asyncio.run(attribute(self.client, name)(*arguments, **named))

    def each(self, name, *arguments, **named):
        async def read():
            return [item async for item in attribute(self.client, name)(*arguments, **named)]

        return asyncio.run(read())


def attribute(client, name):
    for part in name.split("."):
        client = getattr(client, part)
    return client


def handler_of(answers, seen=None):
    """An httpx handler that gives the answers in order and appends the requests to `seen`."""
    answers = iter(answers)

    async def handle(request):
        body = await request.aread()
        if seen is not None:
            seen.append((request, body))
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def handle_plain(request):
        body = request.read()
        if seen is not None:
            seen.append((request, body))
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    class Both:
        def __call__(self, request):
            return (handle_plain if isinstance(request.stream, httpx.SyncByteStream) else handle)(request)

    return Both()
