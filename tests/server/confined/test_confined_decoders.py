"""What comes out of confined decoders: the same as without, and nothing that makes no sense."""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from fakes import FORK_SERVER
from media import damage_packet, write_video

from selsa_bundle.default_bundle import synthetic_video
from selsa_bundle.preprocess import Preprocess
from selsa_server.confined.answers import (
    CorruptAnswer,
    DoneAnswer,
    EndAnswer,
    FrameAnswer,
    IndexAnswer,
    ReadyAnswer,
)
from selsa_server.confined.channel import Channel
from selsa_server.confined.decoders import ConfinedDecoders
from selsa_server.confined.fork_server import BEGUN, ENDED, ForkServer, Lifeline
from selsa_server.confined.outcome import DecoderOutcome
from selsa_server.confined.rules import DecoderRules
from selsa_server.decoders.local import LocalDecoders
from selsa_server.decoders.protocol import Decoders
from selsa_server.errors import DecoderError, VideoError
from selsa_server.run_context import RunContext, StoppedError
from selsa_server.video.container import VideoLimits
from selsa_server.video.index import index_video

LIMITS = VideoLimits(max_duration=60, max_frames=500)
PREPROCESS = Preprocess(long_side=64, short_side=48)
RULES = DecoderRules(timeout=2)


def everything(decoders: Decoders, path: Path, wanted: Any, *, tolerant: bool) -> list[Any]:
    """What is told of a video and of its frames, in comparable pieces."""
    with decoders.open(path, LIMITS, PREPROCESS, RunContext()) as video:
        index = video.index
        told: list[Any] = [
            replace(index, pts=None, keyframe=None),
            index.pts.tolist(),
            index.keyframe.tolist(),
        ]
        for frame in video.frames(wanted(len(index)), RunContext(), tolerant=tolerant).items:
            prepared = getattr(frame, "prepared", None)
            told.append(
                frame if prepared is None else (frame.index, frame.pts, frame.time, prepared.image_size)
            )
            if prepared is not None:
                told += [prepared.scale_factor, prepared.pixels.tobytes()]
    return told


@pytest.mark.parametrize("kind", ["mp4", "turned", "variable", "damaged", "mpegts"])
@pytest.mark.parametrize("wanted", [range, lambda n: range(0, n, 5), lambda n: [1, n - 1]])
def test_a_video_is_the_same_as_when_it_is_decoded_here(tmp_path: Path, kind: str, wanted: Any) -> None:
    path = tmp_path / ("video.ts" if kind == "mpegts" else "video.mp4")
    options: dict[str, dict[str, Any]] = {
        "turned": {"rotation": 90},
        "variable": {"pts": [i * i for i in range(30)]},
        "damaged": {"codec": "mpeg4"},
    }
    write_video(path, 30, size=(96, 64), **options.get(kind, {}))
    if kind == "damaged":
        damage_packet(path, 11)
    confined = ConfinedDecoders(fork_server=FORK_SERVER, rules=RULES)
    found, expected = (everything(each, path, wanted, tolerant=True) for each in (confined, LocalDecoders()))
    assert found == expected


def test_errors_are_the_same_as_when_it_is_decoded_here(tmp_path: Path) -> None:
    damaged = write_video(tmp_path / "damaged.mp4", 30, codec="mpeg4")
    damage_packet(damaged, 11)
    none = tmp_path / "none"
    none.write_bytes(b"nothing" * 100)
    many = write_video(tmp_path / "many.mp4", 501, codec="mpeg4", size=(16, 16))
    for path in (damaged, none, many):
        told = []
        for each in (ConfinedDecoders(fork_server=FORK_SERVER, rules=RULES), LocalDecoders()):
            with pytest.raises(VideoError) as error:
                everything(each, path, range, tolerant=False)
            told.append((error.value.code, error.value.detail))
        assert told[0] == told[1]


def test_frames_are_decoded_when_they_are_asked_for_and_no_more(tmp_path: Path) -> None:
    ended: list[tuple[DecoderOutcome, float]] = []
    decoders = ConfinedDecoders(fork_server=FORK_SERVER, rules=RULES, ended=lambda *each: ended.append(each))
    path = write_video(tmp_path / "video.mp4", 30)
    run = RunContext()
    with decoders.open(path, LIMITS, PREPROCESS, RunContext()) as video:
        frames = video.frames(range(30), run, tolerant=False).items
        assert [next(frames).index for _ in range(3)] == [0, 1, 2]
        frames.close()
        # What was left is not gone through, and there is another process for what comes.
        video.release()
        assert [each.index for each in video.frames([4, 7], run, tolerant=False).items] == [4, 7]
    assert [outcome for outcome, _ in ended] == ["cancelled", "ok"]
    assert all(seconds > 0 for _, seconds in ended)
    assert run.clock.parts["decode"] > 0
    assert run.clock.parts["prepare"] > 0


def test_a_fork_server_that_hangs_is_replaced(tmp_path: Path) -> None:
    path = write_video(tmp_path / "video.mp4", 3)
    with ForkServer() as fork_server:
        decoders = ConfinedDecoders(fork_server=fork_server, rules=replace(RULES, timeout=0.3))
        first = fork_server.pid
        assert first is not None
        os.kill(first, signal.SIGSTOP)
        with pytest.raises(Exception, match="can start no decoder"):
            decoders.open(path, LIMITS, PREPROCESS, RunContext())
        patient = replace(decoders, rules=replace(RULES, timeout=20))
        assert len(everything(patient, path, range, tolerant=False)) == 12
        assert fork_server.pid != first


# Decoders in the wrong hands --------------------------------------------------------------------------------


class Impostor:
    """Stands where the fork server does, and answers as a decoder would that somebody has taken over."""

    def __init__(self, answer: Callable[[Channel, int], None], *, until_cut: bool = False) -> None:
        self._answer = answer
        self._until_cut = until_cut

    def spawn(self, *handles: int) -> Lifeline:
        channel, frame = map(os.dup, handles)
        ours, theirs = socket.socketpair()
        arguments = (Channel(socket.socket(fileno=channel)), frame, theirs)
        threading.Thread(target=self._run, args=arguments).start()
        return Lifeline(ours)

    def close(self) -> None:
        return

    def _run(self, channel: Channel, frame: int, line: socket.socket) -> None:
        with line, suppress(OSError):
            line.send(BEGUN.pack(1))
            with suppress(OSError, ValueError):
                self._answer(channel, frame)
                while channel.receive(1 << 20) is not None:
                    pass
            if self._until_cut:
                line.recv(1)
            line.send(ENDED.pack(0, 0.0))
        channel.close()
        os.close(frame)


def saying(*messages: tuple[bytes, bytes]) -> Callable[[Channel, int], None]:
    def answer(channel: Channel, frame: int) -> None:
        del frame
        channel.send(ReadyAnswer(missing={}).model_dump_json().encode())
        for head, body in messages:
            channel.send(head, body)

    return answer


@pytest.fixture(scope="module")
def sound() -> tuple[IndexAnswer, bytes]:
    return IndexAnswer.of(index_video(synthetic_video(), VideoLimits()))


def index_with(sound: tuple[IndexAnswer, bytes], **changes: Any) -> tuple[bytes, bytes]:
    head = sound[0].model_copy(update=changes).model_dump_json()
    return head.encode(), sound[1]


FRAME = FrameAnswer(index=0, pts=0, time=0.0, shape=(48, 64), image_size=(48, 64), scale_factor=(1.0, 1.0))
BAD_FRAMES = (
    FRAME.model_copy(update={"index": 1}),
    FRAME.model_copy(update={"shape": (20_000, 20_000)}),
    FRAME.model_copy(update={"shape": (1 << 40, 1 << 40)}),
    FRAME.model_copy(update={"image_size": (500, 64)}),
    FRAME.model_copy(update={"scale_factor": (0.0, 1.0)}),
    FRAME.model_copy(update={"decode": -1.0}),
    CorruptAnswer(index=5),
    EndAnswer(),
    DoneAnswer(),
)


def refusal(*messages: tuple[bytes, bytes]) -> tuple[str, str]:
    decoders = ConfinedDecoders(fork_server=Impostor(saying(*messages)), rules=RULES)  # type: ignore[arg-type]
    with pytest.raises(DecoderError) as error:
        everything(decoders, synthetic_video(), range, tolerant=True)
    return error.value.code, error.value.detail


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"no JSON",
        b"null",
        b'{"kind":"nothing"}',
        b'{"kind":"done","more":1}',
        DoneAnswer().model_dump_json().encode(),
    ],
)
def test_an_answer_that_is_none_is_not_believed(head: bytes) -> None:
    code, detail = refusal((head, b""))
    assert (code, "an invalid answer" in detail) == ("decoder_failed", True)


def test_a_decoder_that_hangs_up_and_goes_on_is_ended() -> None:
    def hang_up(channel: Channel, frame: int) -> None:
        del frame
        channel.abort()

    impostor = Impostor(hang_up, until_cut=True)
    decoders = ConfinedDecoders(fork_server=impostor, rules=RULES)  # type: ignore[arg-type]
    with pytest.raises(DecoderError, match="an invalid answer"):
        decoders.open(synthetic_video(), LIMITS, PREPROCESS, RunContext())


def test_an_answer_that_is_too_long_is_not_read() -> None:
    assert refusal((b" " * (80 << 10), b""))[0] == "decoder_failed"


@pytest.mark.parametrize(
    "changes",
    [
        {"width": -1},
        {"rotation": 45},
        {"time_base": (1, 0)},
        {"duration": float("inf")},
        {"codec": "x" * 1000},
        {"damage": "x" * 10_000},
    ],
)
def test_an_index_that_cannot_be_is_not_believed(
    sound: tuple[IndexAnswer, bytes], changes: dict[str, Any]
) -> None:
    assert "an invalid answer" in refusal(index_with(sound, **changes))[1]


def test_an_index_whose_frames_are_out_of_order_is_not_believed(sound: tuple[IndexAnswer, bytes]) -> None:
    head, body = index_with(sound)
    count = len(body) // 9
    backwards = np.frombuffer(body, np.int64, count)[::-1].tobytes() + body[8 * count :]
    for wrong in (backwards, body[:-1], b""):
        assert "an invalid answer" in refusal((head, wrong))[1]


@pytest.mark.parametrize("answer", BAD_FRAMES, ids=lambda each: each.model_dump_json()[:60])
def test_a_frame_that_cannot_be_is_not_believed(sound: tuple[IndexAnswer, bytes], answer: Any) -> None:
    assert "an invalid answer" in refusal(index_with(sound), (answer.model_dump_json().encode(), b""))[1]


def test_an_index_over_a_limit_is_refused(sound: tuple[IndexAnswer, bytes]) -> None:
    for changes, code in (({"width": 1 << 19}, "frame_too_large"), ({"duration": 1e6}, "video_too_long")):
        decoders = ConfinedDecoders(
            fork_server=Impostor(saying(index_with(sound, **changes))),  # type: ignore[arg-type]
            rules=RULES,
        )
        with pytest.raises(VideoError) as error:
            decoders.open(synthetic_video(), LIMITS, PREPROCESS, RunContext())
        assert error.value.code == code


def test_a_stopped_run_does_not_wait_for_a_decoder() -> None:
    ended: list[DecoderOutcome] = []
    decoders = ConfinedDecoders(
        fork_server=Impostor(lambda *_: None),  # type: ignore[arg-type]
        rules=replace(RULES, timeout=60),
        ended=lambda outcome, _: ended.append(outcome),
    )
    started = time.monotonic()
    with pytest.raises(StoppedError):
        decoders.open(
            synthetic_video(),
            LIMITS,
            PREPROCESS,
            RunContext(stopped=lambda: time.monotonic() > started + 0.2),
        )
    assert time.monotonic() - started < 30
    assert ended == ["cancelled"]


def test_memory_that_is_shared_keeps_its_size(sound: tuple[IndexAnswer, bytes]) -> None:
    refused = []

    def shrink(channel: Channel, frame: int) -> None:
        try:
            os.ftruncate(frame, 0)
        except PermissionError:
            refused.append(True)
        saying(index_with(sound))(channel, frame)

    decoders = ConfinedDecoders(fork_server=Impostor(shrink), rules=RULES)  # type: ignore[arg-type]
    with decoders.open(synthetic_video(), LIMITS, PREPROCESS, RunContext()):
        assert refused == [True]


def test_no_decoder_outlives_its_fork_server(tmp_path: Path) -> None:
    path = write_video(tmp_path / "video.mp4", 30)
    with ForkServer() as fork_server:
        decoders = ConfinedDecoders(fork_server=fork_server, rules=RULES)
        opened = [decoders.open(path, LIMITS, PREPROCESS, RunContext()) for _ in range(3)]
        below = psutil.Process(fork_server.pid).children()
        assert len(below) == 3
    assert not any(each.is_running() for each in below)
    for each in opened:
        each.release()
