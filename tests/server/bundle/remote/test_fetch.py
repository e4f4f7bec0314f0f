"""A bundle by its address is the one that was packed, or an error says what is wrong with it."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from web_host import Page, WebHost, web_host

from selsa_bundle.default_bundle import synthetic_bundle
from selsa_bundle.errors import BundleError, DownloadError, PackedError
from selsa_bundle.manifest import Manifest
from selsa_bundle.remote.download import DownloadPolicy
from selsa_bundle.remote.fetch import Fetching, copy_bundle, fetch_bundle
from selsa_bundle.remote.packed import pack, stored_files
from selsa_server.engines.bundle_choice import choose_bundles
from selsa_server.settings import ServerSettings

QUICK = DownloadPolicy(
    attempts=2, first_pause=0.01, longest_pause=0.01, timeout=5, schemes=frozenset({"http", "https"})
)
COMMIT = "c" * 40


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, str]:
    file = tmp_path_factory.mktemp("packed") / "b.selsa"
    digest = pack(synthetic_bundle(), file)
    return file.read_bytes(), digest


@pytest.fixture
def host(packed: tuple[bytes, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[WebHost]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with web_host() as host:
        host.pages["/b.selsa"] = Page(packed[0], headers={"ETag": '"one"'})
        yield host


@pytest.fixture
def fetching(tmp_path: Path) -> Fetching:
    return Fetching(cache=tmp_path / "cache", policy=QUICK)


def is_whole(folder: Path) -> bool:
    Manifest.read(folder).verify_files(folder)
    return True


def test_a_bundle_is_downloaded_once_and_then_taken_from_the_cache(
    host: WebHost, packed: tuple[bytes, str], fetching: Fetching
) -> None:
    seen: list[tuple[int, int | None]] = []
    address = host.url(f"/b.selsa?signature=x#sha256={packed[1]}")
    folder = fetch_bundle(address, replace(fetching, progress=lambda done, total: seen.append((done, total))))
    assert is_whole(folder)
    assert seen == sorted(seen) and seen[-1] == (len(packed[0]), len(packed[0]))
    assert fetch_bundle(address, fetching) == folder
    assert host.paths() == ["/b.selsa?signature=x"], "the checksum is not sent"
    assert [path.name for path in folder.parent.iterdir() if not path.name.startswith(".")] == [folder.name]


def test_a_half_file_is_continued_and_a_damaged_bundle_fetched_again(
    host: WebHost, packed: tuple[bytes, str], fetching: Fetching
) -> None:
    address = host.url(f"/b.selsa#sha256={packed[1]}")
    host.pages["/b.selsa"].break_after = [1_000_000, 0]
    with pytest.raises(DownloadError, match="continue from byte 1000000"):
        fetch_bundle(address, fetching)
    folder = fetch_bundle(address, fetching)
    assert host.seen[-1].headers["Range"] == "bytes=1000000-"
    next(folder.glob("*.onnx")).write_bytes(b"damaged")
    said: list[str] = []
    assert is_whole(fetch_bundle(address, replace(fetching, say=said.append)))
    assert "damaged" in said[0]


def test_a_redirect_to_another_host_is_followed(
    host: WebHost, packed: tuple[bytes, str], fetching: Fetching
) -> None:
    with web_host("127.0.0.2") as other:
        other.pages["/b"] = host.pages["/b.selsa"]
        target = f"http://127.0.0.2:{other.port}/b"
        host.pages["/moved"] = Page(statuses=[302], headers={"Location": target})
        assert is_whole(fetch_bundle(host.url(f"/moved#sha256={packed[1]}"), fetching))


def test_a_file_with_another_checksum_is_deleted(host: WebHost, fetching: Fetching) -> None:
    wrong = "0" * 64
    with pytest.raises(DownloadError, match=f"its address says {wrong}"):
        fetch_bundle(host.url(f"/b.selsa#sha256={wrong}"), fetching)
    assert [path for path in fetching.cache.rglob("*") if path.is_file() and path.suffix != ".lock"] == []


def test_a_file_that_is_no_bundle_is_refused(host: WebHost, fetching: Fetching) -> None:
    host.pages["/b.selsa"].body = body = b"no bundle" * 1000
    with pytest.raises(PackedError):
        fetch_bundle(host.url(f"/b.selsa#sha256={hashlib.sha256(body).hexdigest()}"), fetching)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("https://a.example/b.selsa", "no checksum"),
        ("https://a.example/b.selsa#sha256=12", "64 hexadecimal digits"),
        ("https://a.example/b.selsa#md5=" + "0" * 32, "64 hexadecimal digits"),
        ("https://user:pass@a.example/b.selsa?key=k", "https://a.example/b.selsa has no"),
        ("hf://one-part", "allowed is"),
        ("hf://a/b@../../x y", "allowed is"),
        ("ftp://a.example/b", "allowed is"),
    ],
)
def test_an_address_of_another_form_is_refused_with_what_is_allowed(
    address: str, said: str, fetching: Fetching
) -> None:
    with pytest.raises(DownloadError) as refused:
        fetch_bundle(address, fetching)
    assert said in str(refused.value)
    assert "pass" not in str(refused.value) and "key=k" not in str(refused.value)


def test_a_copy_of_a_fetched_bundle_may_be_changed(
    host: WebHost, packed: tuple[bytes, str], fetching: Fetching, tmp_path: Path
) -> None:
    folder = fetch_bundle(host.url(f"/b.selsa#sha256={packed[1]}"), fetching)
    copy_bundle(folder, tmp_path / "mine", overwrite=False)
    next((tmp_path / "mine").glob("*.onnx")).write_bytes(b"")
    assert is_whole(folder)


def test_settings_tell_addresses_from_folders_and_show_no_signature() -> None:
    text = "https://u:p@a.example/b.selsa?sig=1#sha256=00,fast=hf://o/n@v1,s3://b/c.selsa,x=folder=1,/plain"
    bundles = ServerSettings(bundle=text).bundle
    assert [(each.name, each.address or str(each.path)) for each in bundles] == [
        (None, "https://u:p@a.example/b.selsa?sig=1#sha256=00"),
        ("fast", "hf://o/n@v1"),
        (None, "s3://b/c.selsa"),
        ("x", "folder=1"),
        (None, "/plain"),
    ]
    shown = json.dumps(ServerSettings(bundle=text).model_dump(mode="json")["bundle"])
    assert "sig" not in shown and "u:p" not in shown and "a.example/b.selsa" in shown


@pytest.fixture
def hub(host: WebHost) -> WebHost:
    """The Hugging Face Hub's answers for one repository with the files of a bundle."""
    folder = synthetic_bundle()
    names = ["manifest.json", *(each.file for each in stored_files(Manifest.read(folder)))]
    lfs = {"sha256": hashlib.sha256(host.pages["/b.selsa"].body).hexdigest(), "size": 1, "pointerSize": 1}
    packed = {"rfilename": "sub/b 1.selsa", "size": 1, "blobId": "x", "lfs": lfs}
    for repository, files in {
        "owner/name": [{"rfilename": name} for name in names],
        "owner/packed": [packed, {"rfilename": "README.md"}],
        "owner/empty": [],
    }.items():
        about = {"id": repository, "sha": COMMIT, "siblings": files, "tags": []}
        for end in ("", "/revision/main", "/revision/v1"):
            host.pages[f"/api/models/{repository}{end}"] = Page(json.dumps(about).encode())
    for name in names:
        host.pages[f"/owner/name/resolve/{COMMIT}/{name}"] = Page((folder / name).read_bytes())
    host.pages[f"/owner/packed/resolve/{COMMIT}/sub/b%201.selsa"] = host.pages["/b.selsa"]
    return host


# In a process of its own: the hub's library reads the environment when it is imported.
HUB_SCRIPT = """
import pathlib, sys
from selsa_training.cli.weights import pull
for address, output in (
    ("hf://owner/name@v1", None),
    ("hf://owner/name", pathlib.Path("mine")),
    ("hf://owner/packed", None),
):
    pull(address, output)
for address in ("hf://owner/other", "hf://owner/empty"):
    try:
        pull(address)
    except BaseException as error:
        print(type(error).__name__, error.exit_code)
"""


def test_a_repository_of_the_hub_is_fetched_by_the_commit_of_its_revision(
    hub: WebHost, tmp_path: Path
) -> None:
    pytest.importorskip("huggingface_hub")
    own = {
        "HF_ENDPOINT": f"http://127.0.0.1:{hub.port}",
        "HF_TOKEN": "hf_secret",
        "SELSA_CACHE": str(tmp_path / "cache"),
    }
    command = [sys.executable, "-c", HUB_SCRIPT]
    ran = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | own, cwd=tmp_path, check=False
    )
    first, second, packed, *failed = ran.stdout.splitlines()
    assert is_whole(Path(first)) and COMMIT in first
    assert second == "mine" and is_whole(tmp_path / "mine")
    assert is_whole(Path(packed))
    assert failed == ["Exit 3", "Exit 3"], ran.stderr
    assert "error: cannot read hf://owner/other: " in ran.stderr
    assert "error: hf://owner/empty has neither" in ran.stderr
    files = [each for each in hub.seen if "/resolve/" in each.path]
    assert {each.headers["Authorization"] for each in files} == {"Bearer hf_secret"}
    assert len(files) == len({each.path for each in files}), "each file once"


def test_an_object_of_a_store_is_fetched_and_continued(
    packed: tuple[bytes, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3fs = pytest.importorskip("s3fs")
    boto3 = pytest.importorskip("boto3")
    # An earlier test of this process may have used another store with the same keys.
    s3fs.S3FileSystem.clear_instance_cache()
    from moto.server import ThreadedMotoServer

    store = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    store.start()
    try:
        endpoint = "http://{}:{}".format(*store.get_host_and_port())
        keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}
        for name, value in {**keys, "AWS_ENDPOINT_URL": endpoint}.items():
            monkeypatch.setenv(name, value)
        bucket = boto3.client("s3", endpoint_url=endpoint)
        bucket.create_bucket(Bucket="models")
        bucket.put_object(Bucket="models", Key="x/b.selsa", Body=packed[0])
        fetching = Fetching(cache=tmp_path / "cache", policy=QUICK)

        def stop(done: int, total: int | None) -> None:
            if done >= 2 << 20:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fetch_bundle("s3://models/x/b.selsa", replace(fetching, progress=stop))
        seen: list[int] = []
        folder = fetch_bundle(
            "s3://models/x/b.selsa", replace(fetching, progress=lambda done, total: seen.append(done))
        )
        assert is_whole(folder)
        assert seen[0] > 2 << 20, "what was there is not read again"
        assert is_whole(fetch_bundle(f"s3://models/x/b.selsa#sha256={packed[1]}", fetching))
        with pytest.raises(BundleError, match="its address says"):
            fetch_bundle(f"s3://models/x/b.selsa#sha256={'0' * 64}", fetching)
        with pytest.raises(DownloadError, match="cannot read s3://models/none"):
            fetch_bundle("s3://models/none", fetching)
    finally:
        store.stop()


def test_serve_takes_an_address_and_a_name_for_it(
    host: WebHost, packed: tuple[bytes, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SELSA_CACHE", str(tmp_path))
    named = "named=" + host.url(f"/b.selsa#sha256={packed[1]}")
    (source,) = choose_bundles(ServerSettings(bundle=named).bundle, lambda text: None)
    assert source.name == "named" and is_whole(source.path)


def test_fetching_and_pulling_import_no_torch() -> None:
    heavy = "sorted({'torch', 'onnxruntime', 'fsspec', 'huggingface_hub'} & set(sys.modules))"
    modules = "selsa_bundle.remote.fetch, selsa_server.cli.pack, selsa_training.cli.weights"
    pulled = "selsa_training.published.pull, selsa_training.cli.command_line"
    code = f"import sys, {modules}, {pulled}\n"
    code += f"with selsa_training.cli.command_line.expected_errors(): print({heavy})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
