"""A video at an address is passed on as it arrives, within bounds, and its troubles are the input's."""

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


def test_its_bytes_and_length_are_those_of_the_server():
    assert read(web(lambda request: httpx.Response(200, content=VIDEO))) == (VIDEO, len(VIDEO))
    chunked = httpx.Response(200, content=iter([VIDEO[:7], VIDEO[7:]]))
    assert read(web(lambda request: chunked)) == (VIDEO, None)


def test_a_length_of_compressed_bytes_is_not_that_of_the_video():
    import gzip

    body = gzip.compress(VIDEO)
    answer = httpx.Response(200, headers={"Content-Encoding": "gzip"}, content=body)
    assert read(web(lambda request: answer)) == (VIDEO, None)


def test_no_more_is_taken_than_was_asked_for():
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


def test_a_few_redirects_are_followed_and_no_more():
    assert read(web(redirecting(5)))[0] == b"v"
    with pytest.raises(InputError, match="more than 5 times"):
        read(web(redirecting(6)))


@pytest.mark.parametrize("to", ["http://web/video.mp4", "file:///etc/passwd", "ftp://web/"])
def test_no_redirect_leads_out_of_https(to):
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
def test_an_answer_without_the_video_is_an_input_error_that_names_no_secret(answer, words):
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


def test_it_is_sent_as_any_other_source(stub):
    source = web(lambda request: httpx.Response(200, content=VIDEO))
    with Client(stub.address) as client:
        assert len(client.detect(source).collect().frames) == 3

    async def send():
        async with AsyncClient(stub.address) as client:
            return len((await client.detect(source).collect()).frames)

    assert asyncio.run(send()) == 3
    assert [size for _, _, size in stub.requests] == [len(VIDEO)] * 2


def test_a_download_that_breaks_while_it_is_sent_is_not_the_servers_fault(stub):
    def broken():
        yield bytes(CHUNK)
        raise httpx.ReadError("reset")

    source = web(lambda request: httpx.Response(200, content=broken()))
    with Client(stub.address, retries=3) as client, pytest.raises(InputError, match="failed: reset"):
        client.detect(source).collect()
