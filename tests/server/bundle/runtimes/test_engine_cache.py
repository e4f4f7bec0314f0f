"""An engine comes from the cache only if everything it depends on is the same, and it is whole."""

import struct
import threading
from pathlib import Path

import pytest

from selsa_bundle.errors import BundleError, EngineError
from selsa_bundle.files.user_cache import user_cache
from selsa_bundle.runtimes.engine_cache import EngineCache, EngineKey, default_engine_cache

KEY = EngineKey(
    engine="frame",
    onnx_sha256="a" * 64,
    library="tensorrt",
    version="11.1.0.106",
    processor="sm86",
    precision="fp16",
    profiles=({"name": "wide-1", "sizes": {"B": [1, 1, 1]}},),
    flags=("strongly-typed",),
)
OTHERS = [
    {"engine": "sequence"},
    {"onnx_sha256": "b" * 64},
    {"library": "tensorrt_rtx"},
    {"version": "11.1.0.107"},
    {"processor": "sm89"},
    {"precision": "fp32"},
    {"profiles": ({"name": "wide-1", "sizes": {"B": [1, 1, 2]}},)},
    {"flags": ()},
]


class Builds:
    """Counts; every engine that is built is another one."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> bytes:
        self.count += 1
        return b"engine %d" % self.count * 1000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_an_engine_is_built_once(folder: Path) -> None:
    build = Builds()
    first = EngineCache(folder).get(KEY, build)
    assert EngineCache(folder).get(KEY, build) == first
    assert build.count == 1
    assert (folder.stat().st_mode & 0o777) == 0o700


@pytest.mark.parametrize("changed", OTHERS, ids=lambda changed: next(iter(changed)))
def test_whatever_differs_means_another_engine(folder: Path, changed: dict) -> None:
    build = Builds()
    first = EngineCache(folder).get(KEY, build)
    other = KEY.model_copy(update=changed)
    assert EngineCache(folder).get(other, build) != first
    # Also under the other's name: a file is known by its header.
    said: list[str] = []
    cache = EngineCache(folder, said.append)
    cache.path(other).write_bytes(cache.path(KEY).read_bytes())
    assert cache.read(other) is None
    assert f"its {next(iter(changed))} is " in said[0]
    assert cache.read(KEY) == first


def damaged() -> list[tuple[str, object]]:
    def flipped(raw: bytes, at: int) -> bytes:
        return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]

    return [
        ("empty", lambda raw: b""),
        ("foreign", lambda raw: b"ftrt" + raw),
        ("cut in the mark", lambda raw: raw[:9]),
        ("cut in the header", lambda raw: raw[:40]),
        ("cut in the engine", lambda raw: raw[:-1]),
        ("longer", lambda raw: raw + b"x"),
        ("a bit of the header", lambda raw: flipped(raw, 30)),
        ("a bit of the engine", lambda raw: flipped(raw, len(raw) - 5)),
        ("a header of 4 GB", lambda raw: raw[:16] + struct.pack("<I", 2**32 - 1) + raw[20:]),
    ]


@pytest.mark.parametrize(("name", "damage"), damaged(), ids=[name for name, _ in damaged()])
def test_a_damaged_file_is_refused_and_built_again(folder: Path, name: str, damage) -> None:
    build, said = Builds(), []
    cache = EngineCache(folder, said.append)
    cache.get(KEY, build)
    path = cache.path(KEY)
    path.write_bytes(damage(path.read_bytes()))
    again = cache.get(KEY, build)
    assert build.count == 2
    assert "built again" in said[0]
    assert cache.read(KEY) == again


def test_what_others_may_write_is_not_loaded(folder: Path) -> None:
    build, said = Builds(), []
    cache = EngineCache(folder, said.append)
    cache.get(KEY, build)
    cache.path(KEY).chmod(0o666)
    assert cache.read(KEY) is None
    assert "may be written by others" in said[0]
    folder.chmod(0o777)
    with pytest.raises(EngineError, match="may be written by others"):
        cache.get(KEY, build)


def test_of_several_at_once_one_builds_and_all_get_its_engine(folder: Path) -> None:
    build, found, said = Builds(), [], []
    started, go_on = threading.Event(), threading.Event()

    def slow() -> bytes:
        started.set()
        assert go_on.wait(300)
        return build()

    threads = [
        threading.Thread(target=lambda: found.append(EngineCache(folder, said.append).get(KEY, slow)))
        for _ in range(4)
    ]
    threads[0].start()
    assert started.wait(60)
    for thread in threads[1:]:
        thread.start()
    while len(said) < 3:
        threading.Event().wait(0.01)
    go_on.set()
    for thread in threads:
        thread.join()
    assert build.count == 1
    assert len(set(found)) == 1
    assert len(found) == 4
    assert all("is being built by another process" in line for line in said)


def test_a_build_that_fails_leaves_no_file(folder: Path) -> None:
    def fails() -> bytes:
        raise EngineError("no")

    with pytest.raises(EngineError, match=r"^no$"):
        EngineCache(folder).get(KEY, fails)
    assert [path.suffix for path in folder.iterdir()] == [".lock"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(EngineError, match=r"engine cache .*file.* cannot be used"):
        EngineCache(tmp_path / "file" / "cache").get(KEY, Builds())


def test_a_user_without_a_home_has_no_cache_and_is_told_how_to_name_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("SELSA_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    assert default_engine_cache() is None
    with pytest.raises(BundleError, match="set SELSA_CACHE"):
        user_cache()
