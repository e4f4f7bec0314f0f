"""Both clients on a real connection: records arrive one by one, and leaving drops the connection."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from selsa_client import AsyncClient, Client, IncompleteError, ServerUnreachableError


def first_frame_then_wait(samples):
    def answer(handler):
        handler.begin()
        handler.wfile.write(samples.ndjson(samples.video, samples.frames[0]))
        handler.until_gone()

    return answer


def test_records_arrive_one_by_one_and_closing_drops_the_connection(stub, samples, clip):
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


def test_a_broken_connection_is_an_incomplete_error(stub, samples, clip):
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


def test_an_address_without_a_server_is_unreachable(clip):
    with (
        Client("http://127.0.0.1:1") as client,
        pytest.raises(ServerUnreachableError, match=r"127\.0\.0\.1:1"),
    ):
        client.detect(clip).collect()


def test_a_stream_may_move_to_another_thread(stub, clip):
    with Client(stub.address) as client, client.detect(clip) as stream, ThreadPoolExecutor() as threads:
        frames = iter(stream)
        assert [next(frames).index, threads.submit(next, frames).result().index] == [0, 1]
        assert [frame.index for frame in threads.submit(list, stream).result()] == [2]


def test_the_blocking_client_works_inside_a_running_event_loop(stub, clip):
    async def run():
        with Client(stub.address) as client:
            frame = next(iter(client.detect(clip)))
            return frame.index, len(client.detect(clip).collect().frames)

    assert asyncio.run(run()) == (0, 3)
