"""A packed bundle comes back as it was, and no other file is unpacked."""

import io
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from selsa_bundle.default_bundle import synthetic_bundle
from selsa_bundle.errors import BundleError, ChecksumError
from selsa_bundle.files.stored_file import sha256_of
from selsa_bundle.manifest import MANIFEST_NAME, Manifest
from selsa_bundle.remote.packed import pack, stored_files, unpack


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("packed") / "synthetic.selsa"
    assert pack(synthetic_bundle(), file) == sha256_of(file)
    return file


def contents(folder: Path) -> dict[str, str]:
    return {path.name: sha256_of(path) for path in folder.iterdir()}


def test_a_bundle_comes_back_as_it_was_and_equal_bundles_give_equal_files(
    packed: Path, tmp_path: Path
) -> None:
    unpack(packed, tmp_path / "bundle")
    Manifest.read(tmp_path / "bundle").verify_files(tmp_path / "bundle")
    found = contents(tmp_path / "bundle")
    assert found.items() <= contents(synthetic_bundle()).items()
    assert pack(tmp_path / "bundle", tmp_path / "again.selsa") == sha256_of(packed)
    with tarfile.open(packed) as archive:
        assert sorted(archive.getnames()) == sorted(found), "other programs read it, too"


def test_a_bundle_with_a_damaged_file_is_not_packed(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(synthetic_bundle(), folder)
    with (folder / Manifest.read(folder).parity.file).open("ab") as file:
        file.write(b"x")
    with pytest.raises(ChecksumError):
        pack(folder, tmp_path / "file")
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


Change = Callable[[tarfile.TarInfo, bytes], tuple[tarfile.TarInfo, bytes]]


def rewritten(
    packed: Path, file: Path, change: Callable[[list[tuple[tarfile.TarInfo, bytes]]], None]
) -> Path:
    """The archive with its members changed, by Python's own writer of archives."""
    with tarfile.open(packed) as archive:
        members = [(each, archive.extractfile(each).read()) for each in archive]  # type: ignore[union-attr]
    change(members)
    with tarfile.open(file, "w", format=tarfile.GNU_FORMAT) as archive:
        for info, body in members:
            archive.addfile(info, io.BytesIO(body))
    return file


def member(name: str, body: bytes = b"x", **changes: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(body)
    for key, value in changes.items():
        setattr(info, key, value)
    return info, body


ATTACKS: dict[str, Callable[[list[tuple[tarfile.TarInfo, bytes]]], None]] = {
    "a path out of the folder": lambda members: members.insert(1, member("../evil")),
    "an absolute path": lambda members: members.insert(1, member("/tmp/evil")),
    "a folder": lambda members: members.insert(1, member("sub", b"", type=tarfile.DIRTYPE)),
    "a symbolic link": lambda members: members.insert(
        1, member("l", b"", type=tarfile.SYMTYPE, linkname="/etc")
    ),
    "a hard link": lambda members: members.insert(
        1, member("l", b"", type=tarfile.LNKTYPE, linkname="/etc/passwd")
    ),
    "a device": lambda members: members.insert(1, member("d", b"", type=tarfile.CHRTYPE)),
    "a pipe": lambda members: members.insert(1, member("p", b"", type=tarfile.FIFOTYPE)),
    "a long name": lambda members: members.insert(1, member("x" * 200)),
    "a file that the manifest does not name": lambda members: members.insert(1, member("extra.onnx")),
    "the manifest later": lambda members: members.append(members.pop(0)),
    "a second manifest": lambda members: members.insert(1, members[0]),
    "a file twice": lambda members: members.insert(1, members[1]),
    "a file less": lambda members: members.__delitem__(2),
    "another file under a name": lambda members: members.__setitem__(
        1, (members[1][0], bytes(members[1][0].size))
    ),
    "a huge manifest": lambda members: members.__setitem__(0, member(MANIFEST_NAME, bytes(2 << 20))),
    "a manifest that is none": lambda members: members.__setitem__(0, member(MANIFEST_NAME, b"{}")),
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_an_archive_of_another_form_is_refused_and_leaves_nothing(
    attack: Callable[[list[tuple[tarfile.TarInfo, bytes]]], None], packed: Path, tmp_path: Path
) -> None:
    file = rewritten(packed, tmp_path / "evil.selsa", attack)
    with pytest.raises(BundleError):
        unpack(file, tmp_path / "into" / "bundle")
    assert list((tmp_path / "into").iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evil.selsa", "into"]


@pytest.mark.parametrize("size", [0, 100, 512, 5000, -10_000])
def test_a_file_that_is_cut_off_is_refused(size: int, packed: Path, tmp_path: Path) -> None:
    (tmp_path / "cut").write_bytes(packed.read_bytes()[:size])
    with pytest.raises(BundleError, match=r"cut off|damaged"):
        unpack(tmp_path / "cut", tmp_path / "bundle")


def test_a_bundle_that_does_not_fit_is_refused_before_it_is_written(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    total = sum(each.bytes for each in stored_files(Manifest.read(synthetic_bundle())))
    monkeypatch.setattr("selsa_bundle.remote.packed.MAX_BUNDLE_BYTES", total - 1)
    with pytest.raises(BundleError, match="allowed are"):
        unpack(packed, tmp_path / "bundle")
