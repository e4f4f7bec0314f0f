"""Uploads read no faster than the network accepts, and an early refusal is reported."""

import asyncio
import os
import socket
import struct
import threading
import time
from contextlib import contextmanager, suppress

import pytest

from selsa_client import AsyncClient, Client, InputError, RejectedError, ServerUnreachableError
from selsa_client.http.upload import CHUNK, UploadSource


class CountingFile:
    """A file of `size` zeros that counts what was read of it; it can neither seek nor tell."""

    def __init__(self, size):
        self.left = size
        self.given = 0

    def read(self, size):
        part = min(size, self.left)
        self.left -= part
        self.given += part
        return bytes(part)


def test_never_more_than_one_chunk_is_read_ahead():
    file = CountingFile(10 * CHUNK + 1)
    taken = 0
    with UploadSource(file).attempt() as upload:
        for chunk in upload:
            assert file.given - taken <= CHUNK
            taken += len(chunk)
    assert taken == 10 * CHUNK + 1


def test_never_more_than_one_chunk_is_read_ahead_asynchronously():
    file = CountingFile(10 * CHUNK + 1)

    async def take():
        taken = 0
        with UploadSource(file).attempt() as upload:
            async for chunk in upload:
                assert file.given - taken <= CHUNK
                taken += len(chunk)
        return taken

    assert asyncio.run(take()) == 10 * CHUNK + 1


def test_progress_counts_sent_bytes_up_to_the_total(stub, clip):
    seen = []
    with Client(stub.address) as client:
        client.detect(clip, on_upload=lambda sent, total: seen.append((sent, total))).collect()
    size = clip.stat().st_size
    assert seen[-1] == (size, size)
    assert [sent for sent, _ in seen] == list(range(CHUNK, size + 1, CHUNK))


def test_progress_of_an_upload_of_unknown_length_has_no_total(stub):
    seen = []
    with Client(stub.address) as client:
        client.detect(CountingFile(3), on_upload=lambda *each: seen.append(each)).collect()
    assert seen == [(3, None)]
    assert stub.requests[0][1]["transfer-encoding"] == "chunked"


def test_an_empty_file_is_sent_with_length_0(stub, tmp_path):
    (tmp_path / "empty").touch()
    with Client(stub.address) as client:
        client.detect(tmp_path / "empty").collect()
    assert stub.requests[0][1]["content-length"] == "0"


def test_only_the_original_length_of_a_growing_file_is_sent(tmp_path):
    path = tmp_path / "growing"
    path.write_bytes(b"12345")
    with UploadSource(path).attempt() as upload:
        with path.open("ab") as file:
            file.write(b"678")
        assert b"".join(upload) == b"12345"


def test_a_file_that_shrinks_is_an_input_error(stub, tmp_path):
    path = tmp_path / "shrinking"
    path.write_bytes(bytes(3 * CHUNK))

    def cut(sent, total):
        os.truncate(path, CHUNK)

    with Client(stub.address) as client, pytest.raises(InputError, match="became shorter"):
        client.detect(path, on_upload=cut).collect()


REFUSED = b'{"type":"t","title":"Too large","status":413,"detail":"At most 1 MB.","code":"body_too_large"}'
REFUSAL = (
    b"HTTP/1.1 413 Content Too Large\r\nContent-Type: application/problem+json\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(REFUSED), REFUSED)
)


@contextmanager
def ends_later(serve):
    """A server that calls `serve` with one connection, and closes it when the block ends."""
    ended = threading.Event()

    def accept():
        connection, _ = listener.accept()
        with connection:
            serve(connection)
            ended.wait(60)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            ended.set()
            thread.join()


def refuse_early(*, reset):
    """A server that answers 413 after the first bytes of the body and hangs up; returns its address."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        connection, _ = listener.accept()
        with connection, listener:
            connection.recv(1000)
            connection.sendall(REFUSAL)
            if reset:
                # Closing with unread bytes sends RST, as servers do that stop reading an upload.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    threading.Thread(target=serve, daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def send_with_client(address, **settings):
    with Client(address, **settings) as client:
        client.detect(CountingFile(1 << 30)).collect()


def send_with_async_client(address, **settings):
    async def send():
        async with AsyncClient(address, **settings) as client:
            await client.detect(CountingFile(1 << 30)).collect()

    asyncio.run(send())


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("send", [send_with_client, send_with_async_client])
def test_a_refusal_during_the_upload_is_reported(send, reset):
    with pytest.raises(RejectedError, match="At most 1 MB") as no:
        send(refuse_early(reset=reset))
    assert (no.value.status, no.value.code) == (413, "body_too_large")


def test_asyncio_reports_a_refusal_of_a_server_that_stops_reading_and_stays_connected():
    with ends_later(lambda connection: connection.sendall(REFUSAL)) as address:
        started = time.monotonic()
        with pytest.raises(RejectedError, match="At most 1 MB"):
            send_with_async_client(address)
    assert time.monotonic() - started < 30


def test_an_informational_answer_without_end_is_a_broken_connection():
    def serve(connection):
        with suppress(OSError):
            connection.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: ")
            while True:
                connection.sendall(bytes(b"x" * CHUNK))

    with ends_later(serve) as address, pytest.raises(ServerUnreachableError):
        send_with_async_client(address)


def test_an_informational_answer_does_not_end_an_asynchronous_upload():
    def serve(connection):
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n")
        received = 0
        while received < 1 << 24:
            received += len(connection.recv(1 << 20))
        connection.sendall(REFUSAL)

    with ends_later(serve) as address, pytest.raises(RejectedError, match="At most 1 MB"):
        send_with_async_client(address)


def test_a_server_that_hangs_up_during_an_asynchronous_upload_is_a_broken_connection():
    with (
        ends_later(lambda connection: connection.shutdown(socket.SHUT_RDWR)) as address,
        pytest.raises(ServerUnreachableError, match="it may have refused the upload"),
    ):
        send_with_async_client(address)
