"""A download ends with the whole video in its file, or with an error that says what the other side did."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_network
from pathlib import Path

import anyio
import pytest
from web_host import Page, WebHost, web_host

from selsa_server.errors import DetectError
from selsa_server.jobs.remote.addresses import AddressRules
from selsa_server.jobs.remote.connection import RemoteHosts
from selsa_server.jobs.remote.download import DownloadLimits, download_video, drop_part

BODY = os.urandom(3 << 20)
LIMITS = DownloadLimits(max_bytes=4 << 20, window=20, rate=1000, total=60, pauses=(0.01, 0.02))
IMPATIENT = replace(LIMITS, window=0.5)


@pytest.fixture
def host() -> Iterator[WebHost]:
    with web_host() as host:
        host.pages["/video"] = Page(BODY, headers={"ETag": '"one"'})
        yield host


def download(
    host: WebHost,
    part: Path,
    path: str = "/video",
    limits: DownloadLimits = LIMITS,
    arrived: Callable[[int], None] = lambda size: None,
) -> bytes:
    rules = AddressRules([f"127.0.0.1:{host.port}"], [ip_network("127.0.0.1/32")])

    async def note(size: int) -> None:
        arrived(size)

    async def run() -> None:
        await download_video(RemoteHosts(rules), rules.parse(host.url(path)), part, limits, note)

    anyio.run(run)
    assert [path.name for path in part.parent.iterdir()] == [part.name]
    return part.read_bytes()


def refused(host: WebHost, part: Path, path: str = "/video", limits: DownloadLimits = LIMITS) -> DetectError:
    with pytest.raises(DetectError) as error:
        download(host, part, path, limits)
    assert str(host.port) in error.value.detail, "it names the address"
    return error.value


def ranges(host: WebHost) -> list[str | None]:
    return [each.headers.get("Range") for each in host.seen]


def test_a_video_is_downloaded_and_its_progress_reported(host: WebHost, tmp_path: Path) -> None:
    seen: list[int] = []
    assert download(host, tmp_path / "x.part", arrived=seen.append) == BODY
    assert seen == sorted(seen) and seen[-1] == len(BODY)


def test_a_broken_connection_is_resumed_where_it_broke(host: WebHost, tmp_path: Path) -> None:
    host.pages["/video"].break_after = [300_000, 500_000]
    assert download(host, tmp_path / "x.part") == BODY
    assert ranges(host) == [None, "bytes=300000-", "bytes=800000-"]


def test_a_download_goes_on_after_a_restart(host: WebHost, tmp_path: Path) -> None:
    host.pages["/video"].break_after = [1_000_000, 0, 0, 0]
    assert "3 tries" in refused(host, tmp_path / "x.part").detail
    assert (tmp_path / "x.part").stat().st_size == 1_000_000
    assert download(host, tmp_path / "x.part") == BODY
    assert ranges(host)[-1] == "bytes=1000000-"


@pytest.mark.parametrize("etag", ['"two"', 'W/"one"', None])
def test_versions_of_a_file_are_not_mixed(host: WebHost, tmp_path: Path, etag: str | None) -> None:
    page = host.pages["/video"]
    page.headers, page.break_after = {"ETag": etag if etag != '"two"' else '"one"'}, [1_000_000, 0, 0, 0]
    refused(host, tmp_path / "x.part")
    page.body, page.headers = BODY[::-1], {"ETag": etag}
    assert download(host, tmp_path / "x.part") == BODY[::-1]


def test_a_part_that_is_longer_than_the_file_is_discarded(host: WebHost, tmp_path: Path) -> None:
    host.pages["/video"].break_after = [2_000_000, 0, 0, 0]
    refused(host, tmp_path / "x.part")
    host.pages["/video"].body = BODY[:1000]
    assert download(host, tmp_path / "x.part") == BODY[:1000]


def test_a_failure_that_may_pass_is_tried_again(host: WebHost, tmp_path: Path) -> None:
    host.pages["/video"].statuses = [503, 429]
    assert download(host, tmp_path / "x.part") == BODY


def test_a_signature_is_sent_and_never_told(host: WebHost, tmp_path: Path) -> None:
    assert download(host, tmp_path / "x.part", "/video?X-Amz-Signature=abc") == BODY
    assert host.paths() == ["/video?X-Amz-Signature=abc"]
    host.pages["/video"].statuses = [403]
    assert "abc" not in refused(host, tmp_path / "y.part", "/video?X-Amz-Signature=abc").detail


def raw(data: bytes, seconds: float = 0) -> Page:
    def act(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(data)
        handler.wfile.flush()
        time.sleep(seconds)

    return Page(act=act)


def trickle(handler: BaseHTTPRequestHandler) -> None:
    """A head that never ends."""
    for _ in range(20):
        handler.wfile.write(b"X")
        handler.wfile.flush()
        time.sleep(0.1)


OK = b"HTTP/1.1 200 OK\r\n"
STRANGE = {
    "nothing": (raw(b"", 2), "download_failed", "no answer within 0.5 s"),
    "a head that never ends": (Page(act=trickle), "download_failed", "no answer within 0.5 s"),
    "half a video": (raw(OK + b"Content-Length: 100\r\n\r\nxx", 2), "download_failed", "2 bytes arrived"),
    "a drop at a time": (Page(BODY, pause=0.1, piece=10), "download_failed", "arrived in 0.5 s"),
    "a closed connection": (raw(b""), "download_failed", "disconnected"),
    "no HTTP": (raw(b"SSH-2.0-OpenSSH\r\n\r\n"), "download_failed", "tries"),
    "a page": (
        Page(b"<html>", headers={"Content-Type": "text/html; charset=utf-8"}),
        "download_failed",
        "a page",
    ),
    "gzip": (Page(b"x", headers={"Content-Encoding": "gzip"}), "download_failed", "compressed"),
    "no such file": (Page(statuses=[404]), "download_failed", "answered 404"),
    "an empty file": (Page(b""), "download_failed", "is empty"),
    "always 500": (Page(statuses=[500] * 9), "download_failed", "answered 500"),
    "a loop": (Page(statuses=[302] * 99, headers={"Location": "/strange"}), "download_failed", "redirects"),
    "an announced size over the limit": (
        raw(OK + b"Content-Length: 99999999999\r\n\r\n"),
        "body_too_large",
        "larger than 4194304 bytes",
    ),
    "more than the limit in chunks": (
        Page(BODY * 2, headers={"Content-Length": None, "Connection": "close"}),
        "body_too_large",
        "larger than 4194304 bytes",
    ),
    "another range": (
        raw(b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 5-9/10\r\nContent-Length: 5\r\n\r\nxxxxx"),
        "download_failed",
        "another range",
    ),
}


@pytest.mark.parametrize("strange", STRANGE.values(), ids=STRANGE)
def test_a_host_that_gives_no_video_is_described(
    strange: tuple[Page, str, str], host: WebHost, tmp_path: Path
) -> None:
    page, code, said = strange
    host.pages["/strange"] = replace(page, statuses=list(page.statuses))
    slow = "0.5 s" in said or "arrived" in said
    error = refused(host, tmp_path / "x.part", "/strange", IMPATIENT if slow else LIMITS)
    assert (error.code, said in error.detail) == (code, True), error.detail


def test_what_follows_the_announced_size_is_not_read(host: WebHost, tmp_path: Path) -> None:
    host.pages["/more"] = raw(OK + b"Content-Length: 5\r\n\r\nvideoand more")
    assert download(host, tmp_path / "x.part", "/more") == b"video"


def test_a_download_has_a_time_limit_as_a_whole(host: WebHost, tmp_path: Path) -> None:
    host.pages["/video"].pause = 0.1
    error = refused(host, tmp_path / "x.part", limits=replace(LIMITS, total=0.3))
    assert error.code == "download_timeout"


SEGMENTS = [os.urandom(1000 + n) for n in range(4)]
HEAD = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:4\n"
LISTED = "".join(f"#EXTINF:4.0,\nseg{n}.ts?sig=a\n" for n in range(4))


@pytest.fixture
def playlist(host: WebHost) -> WebHost:
    for n, body in enumerate(SEGMENTS):
        host.pages[f"/hls/seg{n}.ts"] = Page(body)
    host.pages["/hls/all.mp4"] = Page(b"".join(SEGMENTS))
    host.pages["/hls/init.mp4"] = Page(b"init")
    host.pages["/hls/low.m3u8"] = Page(b"low")
    host.pages["/hls/media.m3u8"] = Page((HEAD + LISTED + "#EXT-X-ENDLIST\n").encode())
    return host


def joined(host: WebHost, part: Path, text: str) -> bytes:
    host.pages["/hls/list.m3u8"] = Page(text.encode())
    return download(host, part, "/hls/list.m3u8")


def test_a_finished_playlist_is_the_file_that_its_segments_make(playlist: WebHost, tmp_path: Path) -> None:
    assert download(playlist, tmp_path / "x.part", "/hls/media.m3u8") == b"".join(SEGMENTS)
    assert playlist.paths()[1:] == [f"/hls/seg{n}.ts?sig=a" for n in range(4)]


def test_of_several_variants_the_best_is_taken(playlist: WebHost, tmp_path: Path) -> None:
    text = HEAD + (
        '#EXT-X-STREAM-INF:BANDWIDTH=1000,CODECS="avc1,mp4a"\nlow.m3u8\n'
        '#EXT-X-STREAM-INF:AVERAGE-BANDWIDTH=1,CODECS="a,BANDWIDTH=1",BANDWIDTH=9000\nmedia.m3u8\n'
    )
    assert joined(playlist, tmp_path / "x.part", text) == b"".join(SEGMENTS)


def test_fragments_follow_their_initialisation_segment(playlist: WebHost, tmp_path: Path) -> None:
    text = HEAD + '#EXT-X-MAP:URI="init.mp4"\n' + LISTED + "#EXT-X-ENDLIST\n"
    assert joined(playlist, tmp_path / "x.part", text) == b"init" + b"".join(SEGMENTS)


def test_segments_may_be_ranges_of_one_file(playlist: WebHost, tmp_path: Path) -> None:
    spans = (
        "#EXT-X-BYTERANGE:1000@0\nall.mp4\n#EXT-X-BYTERANGE:1001\nall.mp4\n#EXT-X-BYTERANGE:5@9\nall.mp4\n"
    )
    text = HEAD + '#EXT-X-MAP:URI="all.mp4",BYTERANGE="4@2"\n' + spans + "#EXT-X-ENDLIST\n"
    whole = b"".join(SEGMENTS)
    assert joined(playlist, tmp_path / "x.part", text) == whole[2:6] + whole[:2001] + whole[9:14]


def test_a_playlist_goes_on_after_a_restart_with_the_segment_that_is_missing(
    playlist: WebHost, tmp_path: Path
) -> None:
    playlist.pages["/hls/seg2.ts"].statuses = [404]
    refused(playlist, tmp_path / "x.part", "/hls/media.m3u8")
    playlist.seen.clear()
    assert download(playlist, tmp_path / "x.part", "/hls/media.m3u8") == b"".join(SEGMENTS)
    assert playlist.paths()[1:] == ["/hls/seg2.ts?sig=a", "/hls/seg3.ts?sig=a"]


def test_a_segment_that_breaks_is_there_once(playlist: WebHost, tmp_path: Path) -> None:
    playlist.pages["/hls/seg1.ts"].break_after = [10, 500]
    assert download(playlist, tmp_path / "x.part", "/hls/media.m3u8") == b"".join(SEGMENTS)


END = "#EXT-X-ENDLIST\n"
OTHERS = {
    "live": (HEAD + LISTED, "not finished"),
    "encrypted": (HEAD + '#EXT-X-KEY:METHOD=AES-128,URI="key"\n' + LISTED + END, "encrypted"),
    "with gaps": (HEAD + "#EXT-X-GAP\n" + LISTED + END, "missing"),
    "key frames only": (HEAD + "#EXT-X-I-FRAMES-ONLY\n" + LISTED + END, "key frames"),
    "empty": (HEAD + END, "no segments"),
    "of two inits": (
        HEAD + '#EXT-X-MAP:URI="init.mp4"\n' + LISTED + '#EXT-X-MAP:URI="b.mp4"\n' + LISTED + END,
        "more than one initialisation",
    ),
    "of fragments with two clocks": (
        HEAD + '#EXT-X-MAP:URI="init.mp4"\n' + LISTED + "#EXT-X-DISCONTINUITY\n" + LISTED + END,
        "several clocks",
    ),
    "with a range that is no number": (HEAD + "#EXT-X-BYTERANGE:-5@0\nall.mp4\n" + END, "place of a number"),
    "with too many segments": (HEAD + "#EXTINF:1,\ns.ts\n" * 10_001 + END, "more than 10000"),
    "of playlists of playlists": (HEAD + "#EXT-X-STREAM-INF:BANDWIDTH=1\nlist.m3u8\n" + END, "no segments"),
    "cut off": ("#EXTM3U8", "no playlist"),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_another_playlist_is_refused_with_its_reason(
    other: tuple[str, str], playlist: WebHost, tmp_path: Path
) -> None:
    text, reason = other
    playlist.pages["/hls/list.m3u8"] = Page(text.encode())
    error = refused(playlist, tmp_path / "x.part", "/hls/list.m3u8")
    assert error.code == "unsupported_playlist"
    assert reason in error.detail
    drop_part(tmp_path / "x.part")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "entry",
    ["http://127.0.0.1:1/x", "//[::1]/x", "file:///etc/passwd", "http://u@127.0.0.1/x", "http://10.0.0.1/x"],
)
@pytest.mark.parametrize(
    "form", ["#EXTINF:4,\n{}\n", '#EXT-X-MAP:URI="{}"\n', "#EXT-X-STREAM-INF:BANDWIDTH=1\n{}\n"]
)
def test_no_entry_of_a_playlist_leads_to_what_is_not_allowed(
    entry: str, form: str, playlist: WebHost, tmp_path: Path
) -> None:
    text = HEAD + "#EXTINF:4,\nseg0.ts\n" * ("STREAM" not in form) + form.format(entry) + END
    playlist.pages["/hls/list.m3u8"] = Page(text.encode())
    with pytest.raises(DetectError) as refusal:
        download(playlist, tmp_path / "x.part", "/hls/list.m3u8")
    assert refusal.value.code == "url_not_allowed"
    assert playlist.paths() == ["/hls/list.m3u8"], "no segment is fetched before all are checked"


def test_the_segments_together_have_the_limit_of_a_video(playlist: WebHost, tmp_path: Path) -> None:
    error = refused(playlist, tmp_path / "x.part", "/hls/media.m3u8", replace(LIMITS, max_bytes=2500))
    assert error.code == "body_too_large"
