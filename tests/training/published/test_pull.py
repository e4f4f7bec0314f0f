"""A download ends with the whole published file in the cache, or with a sentence that says what to do."""

import hashlib
import os
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from file_server import CONTENT, Server, serving

from selsa_bundle.files.user_cache import user_cache
from selsa_bundle.remote.download import DownloadPolicy
from selsa_training.checkpoint.errors import (
    CheckpointError,
    CheckpointFileError,
    ChecksumMismatchError,
    DownloadError,
)
from selsa_training.published.pull import PUBLISHED, PublishedFile, fetch, pull

QUICK = DownloadPolicy(
    attempts=3, first_pause=0.01, longest_pause=0.02, timeout=5, schemes=frozenset({"http"})
)


def published(content: bytes = CONTENT) -> PublishedFile:
    return PublishedFile(f"/files/model-{hashlib.sha256(content).hexdigest()[:8]}.pth")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving(Server()) as plan:
        yield plan


def get(
    server: Server,
    cache: Path,
    file: PublishedFile | None = None,
    policy: DownloadPolicy = QUICK,
    say: Callable[[str], None] = lambda text: None,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> Path:
    return fetch(file or published(), cache, mirrors=[server.base], policy=policy, progress=progress, say=say)


def half_loaded(cache: Path, size: int, version: str | None = '"one"', content: bytes = CONTENT) -> Path:
    """A download that stopped after `size` bytes."""
    cache.mkdir(exist_ok=True)
    part = cache / f"{published().name}.part"
    part.write_bytes(content[:size])
    if version:
        part.with_name(part.name + ".version").write_text(version)
    return part


def files(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir() if not path.name.startswith("."))


def test_a_file_is_downloaded_once_and_then_taken_from_the_cache(server: Server, tmp_path: Path) -> None:
    path = get(server, tmp_path / "cache")
    assert path.read_bytes() == CONTENT
    assert files(tmp_path / "cache") == [published().name]
    assert get(server, tmp_path / "cache") == path
    assert len(server.requests) == 1


def test_progress_ends_at_the_size_of_the_file(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    get(server, tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1] == (len(CONTENT), len(CONTENT))


def test_a_damaged_cached_file_is_downloaded_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / published().name).write_bytes(b"damaged")
    said: list[str] = []
    assert get(server, tmp_path, say=said.append).read_bytes() == CONTENT
    assert "damaged" in said[0]


def test_a_broken_connection_is_resumed_where_it_broke(server: Server, tmp_path: Path) -> None:
    server.break_after = [300_000, 200_000]
    assert get(server, tmp_path).read_bytes() == CONTENT
    first, second, third = server.asked_ranges
    assert first is None
    assert second == "bytes=300000-"
    assert third == "bytes=500000-"


def test_an_earlier_download_is_continued(server: Server, tmp_path: Path) -> None:
    half_loaded(tmp_path, 1000)
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.asked_ranges == ["bytes=1000-"]
    assert server.requests[0]["If-Range"] == '"one"'
    assert files(tmp_path) == [published().name]


def test_a_file_that_changed_on_the_server_is_downloaded_from_its_start(
    server: Server, tmp_path: Path
) -> None:
    half_loaded(tmp_path, 1000, version='"older"', content=b"old" * 1000)
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_a_server_that_ignores_ranges_is_read_from_the_beginning(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    half_loaded(tmp_path, 1000)
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_a_weak_etag_does_not_prove_that_the_file_is_the_same(server: Server, tmp_path: Path) -> None:
    server.etag = 'W/"one"'
    server.break_after = [300_000]
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert "If-Range" not in server.requests[1]


def test_a_download_that_lacked_only_its_last_step_is_finished(server: Server, tmp_path: Path) -> None:
    half_loaded(tmp_path, len(CONTENT))
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_a_part_that_is_longer_than_the_file_is_discarded(server: Server, tmp_path: Path) -> None:
    half_loaded(tmp_path, len(CONTENT) + 50, content=CONTENT + b"x" * 50)
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.asked_ranges == [f"bytes={len(CONTENT) + 50}-", None]


def test_a_temporary_failure_is_retried(server: Server, tmp_path: Path) -> None:
    server.statuses = [503, 429]
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert len(server.requests) == 3


def test_a_lasting_failure_ends_the_download_and_keeps_the_received_bytes(
    server: Server, tmp_path: Path
) -> None:
    server.break_after = [100_000, 0, 0, 0, 0]
    with pytest.raises(DownloadError, match=r"tried 3 times.*continue from byte 100000"):
        get(server, tmp_path)
    assert (tmp_path / f"{published().name}.part").stat().st_size == 100_000
    server.break_after = []
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_a_download_with_slow_progress_continues(server: Server, tmp_path: Path) -> None:
    server.break_after = [100_000] * 9
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert len(server.requests) == 10


def test_an_unreachable_server_is_named(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"http://127\.0\.0\.1:1/files/model"):
        get(Server(base="http://127.0.0.1:1"), tmp_path)


def test_a_missing_file_is_not_requested_again(server: Server, tmp_path: Path) -> None:
    server.statuses = [404]
    with pytest.raises(DownloadError, match="404"):
        get(server, tmp_path)
    assert len(server.requests) == 1


def test_a_file_with_another_checksum_is_deleted(server: Server, tmp_path: Path) -> None:
    server.content = b"something else"
    with pytest.raises(ChecksumMismatchError, match=published().digest):
        get(server, tmp_path)
    assert files(tmp_path) == []


def test_only_https_is_allowed_unless_the_caller_names_another_server(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="only https is allowed"):
        get(server, tmp_path, policy=DownloadPolicy())
    assert server.requests == []


def test_a_redirect_is_followed_only_to_an_allowed_address(server: Server, tmp_path: Path) -> None:
    server.redirect = "ftp://127.0.0.1/file"
    with pytest.raises(DownloadError, match="refused to download from ftp"):
        get(server, tmp_path)
    server.redirect = f"{server.base}/again"
    with pytest.raises(DownloadError, match="redirects"):
        get(server, tmp_path)


def test_two_concurrent_pulls_download_once(server: Server, tmp_path: Path) -> None:
    results: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: results.append(get(server, tmp_path).read_bytes())) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [CONTENT] * 4
    assert len(server.requests) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk_is_reported(server: Server, tmp_path: Path) -> None:
    (tmp_path / f"{published().name}.part").symlink_to("/dev/full")
    with pytest.raises(DownloadError, match="no space left"):
        get(server, tmp_path)


def test_a_cache_that_cannot_be_made_is_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointFileError, match="cannot use the cache"):
        get(server, tmp_path / "file" / "cache")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs a user whom permissions bind")
def test_a_cache_without_permission_is_named(server: Server, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(CheckpointFileError, match="Permission denied"):
        get(server, tmp_path)
    tmp_path.chmod(0o700)


def test_an_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="r50-dc5, r50-dc5-fp16, r101-dc5, x101-dc5"):
        pull("r34", tmp_path)


def test_pull_asks_for_the_published_path(server: Server, tmp_path: Path) -> None:
    server.statuses = [404]
    with pytest.raises(CheckpointError, match=re.escape(server.base + PUBLISHED["r101-dc5"].path)):
        pull("r101-dc5", tmp_path, mirrors=[server.base])


@pytest.mark.parametrize(
    ("name", "file", "digest"),
    [
        ("r50-dc5", "selsa_faster_rcnn_r50_dc5_1x_imagenetvid_20201227_204835-2f5a4952.pth", "2f5a4952"),
        (
            "r50-dc5-fp16",
            "selsa_faster_rcnn_r50_dc5_fp16_1x_imagenetvid_20210728_193846-dce6eb09.pth",
            "dce6eb09",
        ),
        ("r101-dc5", "selsa_faster_rcnn_r101_dc5_1x_imagenetvid_20201218_172724-aa961bcc.pth", "aa961bcc"),
        ("x101-dc5", "selsa_faster_rcnn_x101_dc5_1x_imagenetvid_20210825_205641-10252965.pth", "10252965"),
    ],
)
def test_the_name_of_a_published_file_holds_its_checksum(name: str, file: str, digest: str) -> None:
    assert PUBLISHED[name].name == file
    assert PUBLISHED[name].digest == digest


def test_the_cache_is_where_the_environment_says() -> None:
    assert user_cache({"SELSA_CACHE": "/a", "XDG_CACHE_HOME": "/b"}) == Path("/a")
    assert user_cache({"XDG_CACHE_HOME": "/b"}) == Path("/b/selsa")
    assert user_cache({"XDG_CACHE_HOME": "relative"}) == Path.home() / ".cache" / "selsa"
    assert user_cache({}) == Path.home() / ".cache" / "selsa"


def test_after_a_dead_server_the_next_one_is_taken(server: Server, tmp_path: Path) -> None:
    said: list[str] = []
    mirrors = ["http://127.0.0.1:1", server.base]
    path = fetch(
        published(), tmp_path, mirrors=mirrors, policy=QUICK, progress=lambda *_: None, say=said.append
    )
    assert path.read_bytes() == CONTENT
    assert "http://127.0.0.1:1/files/model" in said[0] and f"trying {server.base}" in said[0]


def test_another_server_continues_what_one_began(server: Server, tmp_path: Path) -> None:
    half_loaded(tmp_path, 300_000)
    with serving(Server(statuses=[404])) as first:
        mirrors = [first.base, server.base]
        fetch(
            published(), tmp_path, mirrors=mirrors, policy=QUICK, progress=lambda *_: None, say=lambda _: None
        )
    assert server.asked_ranges == ["bytes=300000-"]
    assert "If-Range" not in server.requests[0], "servers name the same version differently"
    assert files(tmp_path) == [published().name]


def test_after_a_server_with_another_file_the_next_one_is_taken(server: Server, tmp_path: Path) -> None:
    with serving(Server(content=b"something else")) as wrong:
        mirrors = [wrong.base, server.base]
        path = fetch(
            published(), tmp_path, mirrors=mirrors, policy=QUICK, progress=lambda *_: None, say=lambda _: None
        )
    assert path.read_bytes() == CONTENT


def test_the_last_server_has_the_last_word(server: Server, tmp_path: Path) -> None:
    server.statuses = [404]
    mirrors = ["http://127.0.0.1:1", server.base]
    with pytest.raises(DownloadError, match="answered 404"):
        fetch(
            published(), tmp_path, mirrors=mirrors, policy=QUICK, progress=lambda *_: None, say=lambda _: None
        )
