"""TensorRT-RTX builds both engines, which needs no GPU. The engines are not run here."""

import json
import re
import shutil
import struct
from pathlib import Path

import onnx
import pytest
import typer
from typer.testing import CliRunner

from selsa_bundle.contract import contract_for
from selsa_bundle.errors import ChecksumError, EngineError
from selsa_bundle.files.stored_file import StoredFile
from selsa_bundle.manifest import EngineFile, Manifest
from selsa_bundle.runtimes.choice import EngineOptions
from selsa_bundle.runtimes.load import load_engines
from selsa_bundle.tensorrt.builder import BuildOptions, build_engine
from selsa_bundle.tensorrt.cuda_device import CudaDevice
from selsa_bundle.tensorrt.engines import TensorRtOptions, cached_engine, engine_profiles
from selsa_bundle.tensorrt.library import ComputeCapability, TensorRT, import_tensorrt
from selsa_export.int8.layers import layers_of
from selsa_export.int8.native import native_tensors, quantize_native
from selsa_export.int8.ranges import calibrate
from selsa_export.parity.frames import procedural_frames
from selsa_server.cli.engines import engines

OLD, NEW = ComputeCapability(8, 6), ComputeCapability(12, 0)
SM = [OLD, NEW, pytest.param(ComputeCapability(8, 9), marks=pytest.mark.large)]


@pytest.fixture(scope="module")
def library() -> TensorRT:
    pytest.importorskip("tensorrt_rtx_bindings", reason="needs pip install 'selsa[tensorrt-rtx]'")
    return import_tensorrt(("tensorrt_rtx", "tensorrt_rtx_bindings"))


@pytest.fixture(scope="module")
def int8_bundle(r18_native_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with int8 graphs, calibrated on one small frame: what is built does not depend on that."""
    folder = tmp_path_factory.mktemp("int8") / "bundle"
    shutil.copytree(r18_native_bundle, folder)
    manifest = Manifest.read(folder)
    model = onnx.load(str(folder / manifest.engines["native"]["frame"].file))
    layers = layers_of(model)
    small = manifest.preprocess.model_copy(update={"long_side": 320, "short_side": 192})
    frames = [small.prepare(frame) for frame in procedural_frames(1)]
    ranges = calibrate(model, sorted(native_tensors(model, layers)), (), frames).ranges
    path = folder / "frame.native.int8.onnx"
    onnx.save(quantize_native(model, {"backbone.stem"}, ranges), str(path))
    frame = EngineFile(**StoredFile.of(path).model_dump(), tensors=contract_for("frame", manifest.dimensions))
    pair = {"frame": frame, "sequence": manifest.engines["native-fp16"]["sequence"]}
    engines = {**manifest.engines, "native-int8": pair}
    (folder / "manifest.json").write_bytes(manifest.model_copy(update={"engines": engines}).to_json())
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("engines")


def built(folder: Path, library: TensorRT, cache: Path, engine, target, precision="fp16", **options):
    return cached_engine(
        folder,
        Manifest.read(folder),
        engine,
        library,
        target,
        precision,
        TensorRtOptions(cache=cache, max_batch=1, **options),
        here=False,
    )


def header_of(path: Path) -> dict:
    raw = path.read_bytes()
    (length,) = struct.unpack("<I", raw[16:20])
    return json.loads(raw[20 : 20 + length])


@pytest.mark.slow
@pytest.mark.parametrize("target", SM, ids=str)
def test_both_engines_are_built_for_every_kind_of_gpu(
    r18_native_bundle: Path, library: TensorRT, cache: Path, target: ComputeCapability
) -> None:
    manifest = Manifest.read(r18_native_bundle)
    for engine in ("frame", "sequence"):
        told: list[str] = []
        path, plan = built(r18_native_bundle, library, cache, engine, target, say=told.append)
        assert f"building the {engine} engine for {target} in fp16" in told[0]
        graph = manifest.engines["native-fp16"][engine]
        assert graph.bytes * 0.8 < len(plan) < graph.bytes * 1.6 + 24e6
        key = header_of(path)["key"]
        assert key["onnx_sha256"] == graph.sha256
        assert (key["version"], key["processor"]) == (library.version, str(target))
        profiles = engine_profiles(manifest, engine, 1)
        assert key["profiles"] == [profile.describe() for profile in profiles]
        # Again is from the cache: nothing is said, nothing built.
        again: list[str] = []
        assert built(r18_native_bundle, library, cache, engine, target, say=again.append) == (path, plan)
        assert again == []


@pytest.mark.slow
@pytest.mark.parametrize("target", SM, ids=str)
def test_the_int8_engine_is_built_for_every_kind_of_gpu_and_holds_bytes(
    int8_bundle: Path, library: TensorRT, cache: Path, target: ComputeCapability
) -> None:
    path, plan = built(int8_bundle, library, cache, "frame", target, "int8")
    engines = Manifest.read(int8_bundle).engines
    graph, single = engines["native-int8"]["frame"], engines["native"]["frame"]
    assert graph.bytes < 0.3 * single.bytes
    # Its kernels and what is cached of profiles come on top; weights in fp32 would be larger by all of them.
    assert graph.bytes < len(plan) < single.bytes
    key = header_of(path)["key"]
    assert (key["onnx_sha256"], key["precision"]) == (graph.sha256, "int8")
    assert key["profiles"] == [
        profile.describe() for profile in engine_profiles(Manifest.read(int8_bundle), "frame", 1)
    ]


@pytest.mark.slow
def test_progress_is_reported_and_the_fp32_engine_is_larger(
    r18_native_bundle: Path, library: TensorRT, cache: Path
) -> None:
    told: list[tuple[str, float]] = []
    sizes = {
        precision: len(
            built(
                r18_native_bundle,
                library,
                cache,
                "frame",
                OLD,
                precision,
                progress=lambda phase, share: told.append((phase, share)),
            )[1]
        )
        for precision in ("fp32", "fp16")
    }
    assert sizes["fp16"] < 0.7 * sizes["fp32"]
    assert told
    assert all(0 <= share <= 1 for _, share in told)


def run(*arguments: str):
    app = typer.Typer()
    app.command()(engines)
    return CliRunner().invoke(app, arguments)


def test_the_command_prints_the_file_of_each_engine(
    r18_native_bundle: Path, library: TensorRT, cache: Path
) -> None:
    arguments = ["--sm", "86", "--precision", "fp16", "--max-batch", "1", "--cache", str(cache)]
    done = run(str(r18_native_bundle), *arguments)
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    for line, engine in zip(lines, ("frame", "sequence"), strict=True):
        match = re.fullmatch(r"(.*\.engine)  \d+\.\d MiB", line)
        assert match is not None
        assert Path(match[1]).name.startswith(f"{engine}-sm86-fp16-")
        assert Path(match[1]).is_file()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--sm", "90"], "cannot build for sm90: it builds for sm75, sm80, sm86, sm89, sm120, sm121"),
        (["--sm", "x"], "allowed is a number such as 86, 8.6 or sm86"),
        (["--sm", "86", "--precision", "fp8"], "allowed are fp32, fp16, int8"),
        (["--sm", "86", "--precision", "int8"], "has no native graphs in int8"),
    ],
)
def test_an_engine_that_cannot_be_built_gives_one_sentence(
    r18_native_bundle: Path, library: TensorRT, tmp_path: Path, arguments: list[str], said: str
) -> None:
    done = run(str(r18_native_bundle), "--cache", str(tmp_path), *arguments)
    assert done.exit_code == 3
    assert said in done.stderr
    assert done.stderr.count("\n") <= 2
    assert not list(tmp_path.glob("*.engine"))


def test_without_native_graphs_the_error_says_how_to_get_them(library: TensorRT, tmp_path: Path) -> None:
    done = run("--sm", "86", "--cache", str(tmp_path))
    assert done.exit_code == 3
    assert "has no native graphs in fp32" in done.stderr
    assert "selsa export --native" in done.stderr


def test_tensorrt_on_a_machine_without_a_gpu_is_refused_before_anything_is_built(
    r18_native_bundle: Path, library: TensorRT, tmp_path: Path
) -> None:
    try:
        CudaDevice()
    except EngineError:
        options = EngineOptions(provider="tensorrt", precision="fp16", engine_cache=tmp_path / "cache")
        with pytest.raises(EngineError, match="no NVIDIA"):
            load_engines(r18_native_bundle, options)
        assert not (tmp_path / "cache").exists()
    else:
        pytest.skip("this machine has an NVIDIA GPU")


def test_a_graph_that_was_edited_after_its_export_is_not_built(
    r18_native_bundle: Path, library: TensorRT, tmp_path: Path
) -> None:
    folder = tmp_path / "bundle"
    folder.mkdir()
    for path in r18_native_bundle.iterdir():
        (folder / path.name).symlink_to(path)
    graph = folder / Manifest.read(folder).engines["native-fp16"]["sequence"].file
    raw = bytearray(graph.read_bytes())
    raw[len(raw) // 2] ^= 1
    graph.unlink()
    graph.write_bytes(raw)
    with pytest.raises(ChecksumError, match="has sha256"):
        built(folder, library, tmp_path / "cache", "sequence", OLD)
    assert not (tmp_path / "cache").exists()


def test_a_graph_that_tensorrt_cannot_parse_is_refused_with_its_reason(
    r18_bundle: Path, library: TensorRT
) -> None:
    """The graphs for ONNX Runtime have RoiAlign and NonMaxSuppression."""
    manifest = Manifest.read(r18_bundle)
    graph = manifest.engines["fp32"]["frame"]
    options = BuildOptions(target=OLD, profiles=engine_profiles(manifest, "frame", 1))
    with pytest.raises(EngineError, match=r"TensorRT .* cannot (parse|build) .*frame\.onnx: "):
        build_engine(library, r18_bundle / graph.file, graph.tensors, options)


def test_an_engine_for_another_gpu_is_another_file(
    r18_native_bundle: Path, library: TensorRT, cache: Path
) -> None:
    path, _ = built(r18_native_bundle, library, cache, "sequence", OLD)
    other, _ = built(r18_native_bundle, library, cache, "sequence", NEW)
    assert path != other
    said: list[str] = []
    other.write_bytes(path.read_bytes())
    built(r18_native_bundle, library, cache, "sequence", NEW, say=said.append)
    assert "its processor is sm86, not sm120" in said[0]
    assert header_of(other)["key"]["processor"] == "sm120"
