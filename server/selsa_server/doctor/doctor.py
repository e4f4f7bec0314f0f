"""The checks of `selsa doctor` for the server extra: runtimes, FFmpeg, confinement, the bundle.

Each provider really loads the bundle's engines and runs its test frames.
"""

from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, Literal

import av

from selsa_bundle.errors import BundleError
from selsa_bundle.runtimes.host import Host
from selsa_bundle.runtimes.processor import processor_flags, processor_name
from selsa_server.confined.check import unconfined
from selsa_server.confined.fork_server import ForkServer
from selsa_server.confined.rules import DecoderRules
from selsa_server.doctor.bundle import bundle_findings
from selsa_server.render.video import ENCODERS
from selsa_server.schema.doctor import Finding

GPU_INSTALL: Final = "pip install 'selsa[server-gpu]'"
REINSTALL_AV: Final = "pip install --force-reinstall av (its wheels have FFmpeg with them)"
# A server needs the first ones; the others are rare.
NEEDED_DECODERS: Final = ("h264", "hevc", "vp9", "av1")
OTHER_DECODERS: Final = ("vp8", "mpeg4", "mpeg2video", "mjpeg", "prores", "ffv1")
DRIVER: Final = Path("/proc/driver/nvidia/version")
INSTRUCTIONS: Final = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "asimddp")
REMEDIES: Final = {
    "files": "use Linux 5.13 or newer with Landlock switched on (`landlock` in its lsm= list)",
    "system calls": "let the container use seccomp and prctl, as Docker's default profile does",
}
OTHERWISE: Final = (
    "run the server in a container without privileges; with confinement=required it will not start"
)


def findings(bundle: Path | None) -> Iterator[Finding]:
    """Check this machine, part by part; a failed check does not stop the others.

    Args:
        bundle: the folder whose engines are to run; None: SELSA_BUNDLE, or the packaged default.
    """
    host = Host.here()
    yield from _machine(host)
    yield from _codecs()
    yield from confinement_findings()
    yield from bundle_findings(bundle, host, gpu=_driver() is not None)


# The machine ------------------------------------------------------------------------------------------------


def _machine(host: Host) -> Iterator[Finding]:
    flags = [flag for flag in INSTRUCTIONS if flag in processor_flags()]
    yield Finding(
        status="ok", subject="processor", text=f"{processor_name()} ({', '.join(flags) or 'no known flags'})"
    )
    built = ", ".join(name.removesuffix("ExecutionProvider") for name in host.onnx_providers)
    onnx = _version("onnxruntime-gpu") or _version("onnxruntime")
    yield Finding(status="ok", subject="ONNX Runtime", text=f"{onnx}, built with {built}")
    yield _optional("OpenVINO", _version("openvino"), "pip install 'selsa[openvino]'")
    yield from _nvidia()


def _nvidia() -> Iterator[Finding]:
    driver = _driver()
    if driver is None:
        yield Finding(
            status="unavailable",
            subject="NVIDIA GPU",
            text="no driver; everything runs on the CPU",
            remedy="if there is a GPU, install NVIDIA's driver",
        )
    else:
        yield Finding(status="ok", subject="NVIDIA driver", text=driver)
        yield _gpu()
    yield _tensorrt(wanted=driver is not None)


def _driver() -> str | None:
    try:
        first = DRIVER.read_text().splitlines()[0]
    except (OSError, IndexError):
        return None
    return " ".join(first.removeprefix("NVRM version:").split())


def _gpu() -> Finding:
    """Whether CUDA starts, and what it is."""
    try:
        from cuda.bindings import runtime

        from selsa_bundle.tensorrt.cuda_device import CudaDevice

        capability = CudaDevice().compute_capability
        _, number = runtime.cudaRuntimeGetVersion()
        _, driver = runtime.cudaDriverGetVersion()
    except ModuleNotFoundError:
        return Finding(
            status="missing",
            subject="CUDA",
            text="there is a driver and no cuda-bindings",
            remedy=GPU_INSTALL,
        )
    except (BundleError, OSError, RuntimeError, AttributeError) as error:
        return Finding(
            status="fail",
            subject="CUDA",
            text=f"does not start: {error}",
            remedy="match the driver and the CUDA libraries, then restart; nvidia-smi shows the driver",
        )
    text = f"{_cuda(number)} (the driver takes up to {_cuda(driver)}), GPU of kind {capability}"
    return Finding(status="ok", subject="CUDA", text=text)


def _cuda(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


def _tensorrt(*, wanted: bool) -> Finding:
    from selsa_bundle.tensorrt.library import import_tensorrt

    try:
        library = import_tensorrt()
    except BundleError as error:
        if wanted:
            return Finding(status="missing", subject="TensorRT", text=str(error), remedy=GPU_INSTALL)
        return Finding(
            status="unavailable", subject="TensorRT", text="not installed, and there is no GPU for it"
        )
    return Finding(status="ok", subject=library.name, text=library.version)


# FFmpeg -----------------------------------------------------------------------------------------------------


def _codecs() -> Iterator[Finding]:
    numbers = av.library_versions["libavcodec"]
    found = [name for name in NEEDED_DECODERS + OTHER_DECODERS if _has(name, "r")]
    yield Finding(
        status="ok",
        subject="FFmpeg",
        text=f"PyAV {av.__version__}, libavcodec {'.'.join(map(str, numbers))}, decodes {', '.join(found)}",
    )
    for name in NEEDED_DECODERS:
        if name not in found:
            yield Finding(
                status="fail" if name == "h264" else "warn",
                subject="FFmpeg",
                text=f"no decoder for {name}: such videos are refused",
                remedy=REINSTALL_AV,
            )
    encoder = next((name for name in ENCODERS if _has(name, "w")), None)
    if encoder is None:
        text = f"none of {', '.join(ENCODERS)}: detections cannot be drawn on a video"
        yield Finding(status="warn", subject="H.264 encoder", text=text, remedy=REINSTALL_AV)
    else:
        yield Finding(status="ok", subject="H.264 encoder", text=encoder)


def _has(name: str, mode: Literal["r", "w"]) -> bool:
    try:
        av.Codec(name, mode)
    except av.codec.codec.UnknownCodecError:
        return False
    return True


def _optional(subject: str, found: str | None, install: str) -> Finding:
    if found is not None:
        return Finding(status="ok", subject=subject, text=found)
    return Finding(status="missing", subject=subject, text="not installed", remedy=install)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


# Confinement ------------------------------------------------------------------------------------------------


def confinement_findings() -> Iterator[Finding]:
    """Whether a decoder process can do what it must not do: one starts and tries."""
    with closing(ForkServer()) as fork_server:
        missing = unconfined(fork_server, DecoderRules())
    if not missing:
        text = "decoders have processes of their own, without network, other files and privileges"
        yield Finding(status="ok", subject="confinement", text=text)
    for part, reason in missing.items():
        yield Finding(
            status="warn",
            subject="confinement",
            text=f"{part}: {reason}",
            remedy=REMEDIES.get(part, OTHERWISE),
        )
