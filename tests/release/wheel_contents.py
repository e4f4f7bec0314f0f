"""What a wheel of ours must have inside, and must not."""

import re
import zipfile
from email.parser import HeaderParser
from pathlib import Path

PACKAGES = ("selsa_bundle", "selsa_client", "selsa_export", "selsa_server", "selsa_training")
NEEDED = (
    "selsa_bundle/everyday/manifest.json",
    "selsa_bundle/everyday/frame.onnx",
    "selsa_bundle/everyday/sequence.onnx",
    "selsa_bundle/everyday.mp4",
    "selsa_bundle/licences/CREDITS.md",
    "selsa_bundle/licences/human-models-MIT.txt",
    "selsa_bundle/licences/nanodet-Apache-2.0.txt",
    "selsa_bundle/synthetic/manifest.json",
    "selsa_bundle/synthetic/frame.onnx",
    "selsa_bundle/synthetic/sequence.onnx",
    "selsa_bundle/sample.mp4",
    "selsa_server/page/index.html",
    "selsa_training/recipes/tiny.toml",
    *(f"{package}/py.typed" for package in PACKAGES),
)
FOREIGN = re.compile(r"(^|/)(tests?|node_modules|__pycache__)/|\.(pyc|map|log)$")


def check_wheel(wheel: Path, number: str) -> None:
    """Raises ValueError naming what is missing, foreign or otherwise than it should be."""
    with zipfile.ZipFile(wheel) as opened:
        names = opened.namelist()
        if missing := sorted(set(NEEDED) - set(names)):
            raise ValueError(f"{wheel.name} lacks {', '.join(missing)}")
        tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
        foreign = sorted(tops - set(PACKAGES)) + [name for name in names if FOREIGN.search(name)]
        if foreign:
            raise ValueError(f"{wheel.name} has what belongs to no package of ours: {', '.join(foreign)}")
        folder = next(name.split("/")[0] for name in names if ".dist-info/" in name)
        metadata = HeaderParser().parsestr(opened.read(f"{folder}/METADATA").decode())
        licence = f"{folder}/licenses/LICENSE"
    if metadata["Version"] != number:
        raise ValueError(f"{wheel.name} is version {metadata['Version']}, pyproject.toml says {number}")
    if licence not in names:
        raise ValueError(f"{wheel.name} has no LICENSE")
