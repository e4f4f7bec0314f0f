"""Limits of the decoders of a server."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from selsa_server.sandbox.allowance import Allowance
from selsa_server.settings import DecoderSettings

# A decoder's pictures: 17 of them at three bytes a pixel (10 bit), and four copies on the way to RGB.
BYTES_PER_PIXEL: Final = 64
BASE_MEMORY: Final = 512 << 20
# Drawing gets twice the memory: the encoder holds pictures of its own.
DRAWING: Final = 2
# A drawn file also has the sound of the source and an index.
FILE_SLACK: Final = 64 << 20


def default_memory(max_pixels: int) -> int:
    """Upper bound of the memory, in bytes, to decode frames of `max_pixels`."""
    return BASE_MEMORY + BYTES_PER_PIXEL * max_pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderRules:
    """Limits of a decoder.

    Attributes:
        required: whether a decoder that cannot be fully confined refuses to work.
        timeout: seconds without progress after which it is ended.
        memory: bytes of address space in addition to its program.
        cpu_seconds: processor time for one video.
        retry_after: seconds that a client is asked to wait if no decoder can be started.
    """

    required: bool = False
    timeout: float = 30
    memory: int = default_memory(8192 * 4352)
    cpu_seconds: int = 12 * 3600
    retry_after: int = 5

    def reading(self, paths: Sequence[Path] = ()) -> Allowance:
        """For reading these files, or a live source."""
        return Allowance(readable=tuple(paths), memory=self.memory, cpu_seconds=self.cpu_seconds)

    def drawing(self, source: Path, out: Path, max_bytes: int | None) -> Allowance:
        """For reading `source` and writing `out`, with at most `max_bytes` of pictures."""
        most = source.stat().st_size + FILE_SLACK + max_bytes if max_bytes is not None else (1 << 62)
        return Allowance(
            readable=(source,),
            writable=(out,),
            memory=DRAWING * self.memory,
            cpu_seconds=self.cpu_seconds,
            file_bytes=most,
        )


def decoder_rules(settings: DecoderSettings, retry_after: int) -> DecoderRules:
    """The bounds of one decoder process."""
    return DecoderRules(
        required=settings.confinement == "required",
        timeout=settings.decoder_timeout,
        memory=settings.decoder_memory or default_memory(settings.max_pixels),
        cpu_seconds=settings.decoder_cpu_seconds,
        retry_after=retry_after,
    )
