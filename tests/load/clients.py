"""Behaviours of good and bad clients, with checks of the server's responses.

Each behaviour is a function of one request. It returns the outcome as a word, and raises `WrongAnswerError`
for a wrong response.
"""

import random
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import orjson
from films import Film

__all__ = ["BEHAVIOURS", "Client", "WrongAnswerError"]

NDJSON = {"Accept": "application/x-ndjson"}
PIECES = 8


class WrongAnswerError(Exception):
    """A response that is incomplete, has lost or duplicate frames, or is wrong."""


@dataclass(slots=True)
class Client:
    """One of those who use the server at the same time.

    Attributes:
        address: of the server.
        chance: what it does next.
        good: videos that are whole.
        bad: what must be refused.
        frames: that it was given, whole responses only.
        http: its connections, within `connections`.
    """

    address: str
    chance: random.Random
    good: list[Film]
    bad: list[Film]
    frames: int = 0
    http: httpx.Client = field(init=False)

    @contextmanager
    def connections(self) -> Iterator[None]:
        """Connected for as long as the block lasts."""
        with httpx.Client(base_url=self.address, timeout=600) as self.http:
            yield

    def request(self) -> tuple[Film, dict[str, str], list[int]]:
        """A video, options, and the indices that must come back."""
        film, stride = self.chance.choice(self.good), self.chance.choice([1, 1, 2, 3])
        params = {"mode": self.chance.choice(["sequence", "sequence", "online"]), "stride": str(stride)}
        if self.chance.random() < 0.5:
            params["reference_frames"] = str(self.chance.choice([1, 2, 4]))
        return film, params, list(range(0, film.frames, stride))


def json_document(client: Client) -> str:
    film, params, wanted = client.request()
    answer = client.http.post("/detect", content=film.body, params=params)
    if _busy(answer):
        return "busy"
    document = _document(answer)
    return _complete(client, document["frames"], document["summary"], wanted)


def records(client: Client) -> str:
    film, params, wanted = client.request()
    with client.http.stream("POST", "/detect", content=film.body, params=params, headers=NDJSON) as answer:
        return _records(client, answer, wanted, pause=0)


def slow_reader(client: Client) -> str:
    film, params, wanted = client.request()
    with client.http.stream("POST", "/detect", content=film.body, params=params, headers=NDJSON) as answer:
        return _records(client, answer, wanted, pause=0.1)


def slow_upload(client: Client) -> str:
    film, params, wanted = client.request()

    def pieces() -> Iterator[bytes]:
        size = -(-len(film.body) // PIECES)
        for start in range(0, len(film.body), size):
            time.sleep(0.1)
            yield film.body[start : start + size]

    with client.http.stream("POST", "/detect", content=pieces(), params=params, headers=NDJSON) as answer:
        return _records(client, answer, wanted, pause=0)


def bad_file(client: Client) -> str:
    film = client.chance.choice(client.bad)
    answer = client.http.post("/detect", content=film.body)
    if _busy(answer):
        return "busy"
    if (
        answer.headers["content-type"] != "application/problem+json"
        or answer.json()["code"] not in film.codes
    ):
        raise WrongAnswerError(f"{answer.status_code} {answer.text[:200]} instead of {sorted(film.codes)}")
    return "refused"


def leaves_uploading(client: Client) -> str:
    film, _, _ = client.request()
    with _connection(client, len(film.body)) as raw:
        raw.sendall(film.body[: len(film.body) // 2])
        time.sleep(0.05)
    return "left"


def leaves_waiting(client: Client) -> str:
    """After the upload, queued or while its references are looked at."""
    film, _, _ = client.request()
    with _connection(client, len(film.body)) as raw:
        raw.sendall(film.body)
        time.sleep(client.chance.random() * 0.3)
    return "left"


def leaves_reading(client: Client) -> str:
    film, params, _ = client.request()
    with client.http.stream("POST", "/detect", content=film.body, params=params, headers=NDJSON) as answer:
        if answer.status_code == 200:
            next(answer.iter_lines())
    return "left"


# Behaviours and their frequency in percent.
BEHAVIOURS: dict[Callable[[Client], str], int] = {
    json_document: 25,
    records: 25,
    bad_file: 15,
    slow_upload: 8,
    slow_reader: 7,
    leaves_reading: 8,
    leaves_waiting: 6,
    leaves_uploading: 6,
}


def _connection(client: Client, size: int) -> socket.socket:
    url = httpx.URL(client.address)
    raw = socket.create_connection((url.host, url.port or 80), timeout=30)
    head = f"POST /detect HTTP/1.1\r\nHost: {url.host}\r\nContent-Length: {size}\r\n\r\n"
    raw.sendall(head.encode())
    return raw


def _busy(answer: httpx.Response) -> bool:
    """Whether the server has no room and says so as it must. The others come before it then."""
    if answer.status_code != 503:
        return False
    answer.read()
    if answer.json()["code"] != "server_busy" or int(answer.headers["retry-after"]) < 1:
        raise WrongAnswerError(f"503 {answer.text[:200]}")
    time.sleep(0.2)
    return True


def _document(answer: httpx.Response) -> dict[str, list[dict[str, int]]]:
    if answer.status_code != 200:
        raise WrongAnswerError(f"{answer.status_code} {answer.text[:200]} for a good video")
    document: dict[str, list[dict[str, int]]] = answer.json()
    return document


def _records(client: Client, answer: httpx.Response, wanted: list[int], pause: float) -> str:
    if _busy(answer):
        return "busy"
    if answer.status_code != 200:
        answer.read()
        raise WrongAnswerError(f"{answer.status_code} {answer.text[:200]} for a good video")
    lines = []
    for line in answer.iter_lines():
        lines.append(orjson.loads(line))
        time.sleep(pause)
    kinds = [line["type"] for line in lines]
    if kinds != ["video", *["frame"] * (len(lines) - 2), "summary"]:
        raise WrongAnswerError(f"records {kinds}: {lines[-1]}")
    return _complete(client, lines[1:-1], lines[-1], wanted)


def _complete(client: Client, frames: list[dict[str, int]], summary: object, wanted: list[int]) -> str:
    indices = [frame["index"] for frame in frames]
    if indices != wanted:
        raise WrongAnswerError(f"frames {indices} instead of {wanted}: {summary}")
    client.frames += len(indices)
    return "complete"
