"""Videos with sound, made by code."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from media import frame_pixels

__all__ = ["sound_of", "write_sounding_video"]

RATE = 48_000


def write_sounding_video(path: Path, count: int, codec: str, *, size: tuple[int, int] = (64, 48)) -> Path:
    """`count` frames at 25 per second, and a tone as long as they last."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        sound = container.add_stream(codec, rate=RATE)
        sound.layout = "stereo"
        for number in range(count):
            pixels = frame_pixels(number, *size)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(video.encode(frame))
        step = sound.codec_context.frame_size or 1024
        for start in range(0, count * RATE // 25, step):
            tone = 0.3 * np.sin(np.arange(start, start + step, dtype=np.float32) / 20)
            piece = av.AudioFrame.from_ndarray(np.stack([tone, tone]), format="fltp", layout="stereo")
            piece.sample_rate, piece.pts = RATE, start
            container.mux(sound.encode(piece))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))
    return path


def sound_of(path: Path) -> list[tuple[Fraction, bytes]]:
    """When each packet of sound is heard, and its bytes."""
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return []
        packets = [packet for packet in container.demux(audio=0) if packet.size]
        return [(packet.pts * packet.time_base, bytes(packet)) for packet in packets]
