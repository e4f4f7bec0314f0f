"""A web video is passed on while it downloads, within bounds; its failures are input errors."""

import asyncio

import httpx
import pytest

from selsa_client import AsyncClient, Client, InputError, WebVideo
from selsa_client.http.upload import CHUNK, UploadSource

VIDEO = bytes(range(256)) * 5000


def web(answer):
    return WebVideo("https://me:secret@web/video.mp4?key=1", transport=httpx.MockTransport(answer))


def read(source):
    with UploadSource(source).attempt() as upload:
        return b"".join(upload), upload.length


def test_web_video_has_the_bytes_and_length_that_its_server_sends():
    assert read(web(lambda request: httpx.Response(200, content=VIDEO))) == (VIDEO, len(VIDEO))
    chunked = httpx.Response(200, content=iter([VIDEO[:7], VIDEO[7:]]))
    assert read(web(lambda request: chunked)) == (VIDEO, None)


def test_the_length_of_a_compressed_answer_is_ignored():
    import gzip

    body = gzip.compress(VIDEO)
    answer = httpx.Response(200, headers={"Content-Encoding": "gzip"}, content=body)
    assert read(web(lambda request: answer)) == (VIDEO, None)


def test_a_download_is_read_no_faster_than_the_upload():
    asked = 0

    def endless():
        nonlocal asked
        while True:
            asked += 1
            yield bytes(CHUNK)

    source = web(lambda request: httpx.Response(200, content=endless()))
    with UploadSource(source).attempt() as upload:
        for _, _chunk in zip(range(10), upload, strict=False):
            pass
    assert asked <= 11


def redirecting(times, to="https://web/next"):
    def answer(request):
        nonlocal times
        times -= 1
        return (
            httpx.Response(302, headers={"Location": to}) if times >= 0 else httpx.Response(200, content=b"v")
        )

    return answer


def test_at_most_five_redirects_are_followed():
    assert read(web(redirecting(5)))[0] == b"v"
    with pytest.raises(InputError, match="more than 5 times"):
        read(web(redirecting(6)))


@pytest.mark.parametrize("to", ["http://web/video.mp4", "file:///etc/passwd", "ftp://web/"])
def test_a_redirect_from_https_to_another_scheme_is_refused(to):
    with pytest.raises(InputError, match="redirects from https to"):
        read(web(redirecting(1, to)))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda request: httpx.Response(404), "404 Not Found"),
        (lambda request: httpx.Response(403), "403"),
        (lambda request: httpx.Response(206, content=b"v"), "206"),
    ],
)
def test_an_error_answer_is_an_input_error_without_secrets(answer, words):
    with pytest.raises(InputError, match=words) as caught:
        read(web(answer))
    assert "https://web/video.mp4" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "key=1" not in str(caught.value)


def test_a_connection_that_fails_or_breaks_is_an_input_error():
    def refused(request):
        raise httpx.ConnectError("refused")

    def broken():
        yield b"video"
        raise httpx.ReadError("reset")

    with pytest.raises(InputError, match="refused"):
        read(web(refused))
    with pytest.raises(InputError, match=r"Downloading https://web/video\.mp4 failed"):
        read(web(lambda request: httpx.Response(200, content=broken())))


def test_a_web_video_is_a_source_for_both_clients(stub):
    source = web(lambda request: httpx.Response(200, content=VIDEO))
    with Client(stub.address) as client:
        assert len(client.detect(source).collect().frames) == 3

    async def send():
        async with AsyncClient(stub.address) as client:
            return len((await client.detect(source).collect()).frames)

    assert asyncio.run(send()) == 3
    assert [size for _, _, size in stub.requests] == [len(VIDEO)] * 2


def test_a_broken_download_is_an_input_error_and_not_retried(stub):
    def broken():
        yield bytes(CHUNK)
        raise httpx.ReadError("reset")

    source = web(lambda request: httpx.Response(200, content=broken()))
    with Client(stub.address, retries=3) as client, pytest.raises(InputError, match="failed: reset"):
        client.detect(source).collect()
