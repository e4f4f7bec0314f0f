"""Client and AsyncClient on a real connection: records as they come, and connections dropped when left."""

import asyncio
from pathlib import Path

import pytest

from selsa_client import AsyncClient, Client, IncompleteError, ServerUnreachableError


def first_frame_then_wait(samples):
    def answer(handler):
        handler.begin()
        handler.wfile.write(samples.ndjson(samples.video, samples.frames[0]))
        handler.until_gone()

    return answer


def test_records_are_given_as_they_come_and_closing_drops_the_connection(stub, samples, clip):
    stub.answer = first_frame_then_wait(samples)
    with Client(stub.address) as client, client.detect(clip) as stream:
        assert next(iter(stream)).index == 0
        assert not stub.gone.is_set()
        stream.close()
        assert stub.gone.wait(60)


def test_leaving_an_asynchronous_stream_drops_the_connection(stub, samples, clip):
    stub.answer = first_frame_then_wait(samples)

    async def read_one():
        async with AsyncClient(stub.address) as client, client.detect(clip) as stream:
            return (await anext(aiter(stream))).index

    assert asyncio.run(read_one()) == 0
    assert stub.gone.wait(60)


def test_a_connection_that_breaks_is_incomplete(stub, samples, clip):
    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Type", "application/x-ndjson")
        handler.send_header("Content-Length", "100000")
        handler.end_headers()
        handler.wfile.write(samples.ndjson(samples.video, samples.frames[0]))
        handler.close_connection = True

    stub.answer = answer
    with Client(stub.address) as client, pytest.raises(IncompleteError, match="connection broke") as caught:
        client.detect(clip).collect()
    assert caught.value.emitted == 1


def test_one_client_serves_many_videos(stub, clip):
    with Client(stub.address) as client:
        for _ in range(3):
            assert len(client.detect(clip).collect().frames) == 3
    assert [size for _, _, size in stub.requests] == [Path(clip).stat().st_size] * 3


def test_an_address_of_nobody_is_unreachable(clip):
    with (
        Client("http://127.0.0.1:1") as client,
        pytest.raises(ServerUnreachableError, match=r"127\.0\.0\.1:1"),
    ):
        client.detect(clip).collect()
