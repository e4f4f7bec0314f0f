"""Properties of the Dockerfiles and locks; needs no Docker engine, unlike `make compose-test`."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
LOCKS = sorted((DOCKER / "locks").glob("*.txt"))
DOCKERFILES = sorted(DOCKER.glob("*.Dockerfile"))
PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;]+)(?: ; (.*?))? \\$", re.MULTILINE)
EXTRAS = {
    "server-cpu": ["server", "tracing"],
    "server-gpu": ["server-gpu", "tracing"],
    "server-cluster": ["server", "cluster", "tracing"],
    "server-gpu-cluster": ["server-gpu", "cluster", "tracing"],
    "training": ["training", "export"],
}
# Only NVIDIA's own index has the complete packages; see server.gpu.Dockerfile.
UNLOCKED = {"tensorrt"}


def instructions(path: Path) -> list[tuple[str, str]]:
    """Name and text of each instruction, continued lines joined and comments left out."""
    lines = [
        line for line in path.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")
    ]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()
    return [(line.split(None, 1)[0].upper(), line.split(None, 1)[1]) for line in joined]


def final_stage(path: Path) -> list[tuple[str, str]]:
    found = instructions(path)
    last = max(index for index, (name, _) in enumerate(found) if name == "FROM")
    return found[last:]


def wanted(extra: str) -> list[Requirement]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    return [Requirement(text) for text in project["optional-dependencies"][extra]]


def base() -> list[Requirement]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        return [Requirement(text) for text in tomllib.load(file)["project"]["dependencies"]]


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_every_locked_package_has_a_version_and_a_hash(path: Path) -> None:
    blocks = re.split(r"\n(?=\S)", path.read_text().split("make lock\n")[1].strip())
    assert blocks
    for block in blocks:
        assert re.match(r"[a-z0-9._-]+==\S+( ; .*)? \\\n    --hash=sha256:[0-9a-f]{64}", block), (
            block.splitlines()[0]
        )


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_a_lock_has_no_address_and_no_path_of_a_machine(path: Path) -> None:
    assert re.findall(r"://|^-|\bfile:|/home|/root|/tmp", path.read_text(), re.MULTILINE) == []


@pytest.mark.parametrize("image", EXTRAS)
def test_a_lock_matches_pyproject(image: str) -> None:
    """Fails if a requirement was added or raised after the last `make lock`."""
    text = (DOCKER / "locks" / f"{image}.txt").read_text()
    locked: dict[str, list[str]] = {}
    for name, version, _ in PINNED.findall(text):
        locked.setdefault(canonicalize_name(name), []).append(version)
    needed = [each for extra in EXTRAS[image] for each in wanted(extra)] + base()
    for requirement in needed:
        name = canonicalize_name(requirement.name)
        if name == "selsa" or name in UNLOCKED:
            continue
        assert name in locked, f"{requirement} is not in {image}.txt; run `make lock`"
        assert all(requirement.specifier.contains(v, prereleases=True) for v in locked[name]), str(
            requirement
        )


def test_server_images_have_no_torch() -> None:
    for image in EXTRAS.keys() - {"training"}:
        names = {name for name, _, _ in PINNED.findall((DOCKER / "locks" / f"{image}.txt").read_text())}
        assert not names & {"torch", "torchvision", "timm", "onnxscript"}


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_an_image_runs_as_a_fixed_unprivileged_user(path: Path) -> None:
    names = dict(final_stage(path))
    assert names["USER"] == "10001:10001"


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_an_image_has_a_health_check_and_labels(path: Path) -> None:
    stage = final_stage(path)
    labels = next(text for name, text in stage if name == "LABEL")
    for key in ("title", "description", "licenses", "version", "revision"):
        assert f"org.opencontainers.image.{key}=" in labels
    health = next(text for name, text in stage if name == "HEALTHCHECK")
    assert "ready.py" in health or path.stem == "training"


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_an_image_disables_telemetry(path: Path) -> None:
    assert any("ORT_DISABLE_TELEMETRY=1" in text for name, text in final_stage(path) if name == "ENV")


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_installed_packages_are_locked(path: Path) -> None:
    for name, text in instructions(path):
        if name != "RUN":
            continue
        for command in re.findall(r"pip\S*(?: --python \S+)? install .*?(?=&&|$)", text):
            locked = "--require-hashes" in command
            ours = "--no-index --no-deps" in command
            nvidia = "tensorrt-cu13-libs" in command
            assert locked or ours or nvidia, command
    assert "syntax=" not in path.read_text()


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_copied_files_are_in_the_build_context(path: Path) -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = [line[1:] for line in ignored if line.startswith("!")]
    assert ignored[1] == "*"
    for name, text in instructions(path):
        if name != "COPY" or "--from" in text:
            continue
        for source in text.split()[:-1]:
            assert (ROOT / source).exists()
            assert any(Path(source).match(pattern) for pattern in allowed), source


@pytest.mark.parametrize(
    "path", [*DOCKER.rglob("*.sh"), *DOCKER.rglob("*.sbatch")], ids=lambda path: path.name
)
def test_the_scripts_have_valid_syntax(path: Path) -> None:
    shell = "bash" if "bash" in path.read_text().splitlines()[0] else "sh"
    assert subprocess.run([shell, "-n", path]).returncode == 0


def test_the_version_is_in_one_place() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        number = re.escape(tomllib.load(file)["project"]["version"])
    texts = [*DOCKERFILES, DOCKER / "compose.yaml", DOCKER / ".env", ROOT / "Makefile"]
    assert [path.name for path in texts if re.search(rf"(?<![\d.]){number}(?![\d.])", path.read_text())] == []
