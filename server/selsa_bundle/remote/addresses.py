"""The addresses of bundles: told from folders, and shown without what may be secret."""

import re
from typing import Final

SCHEMES: Final = ("https", "http", "hf", "s3")


def is_address(text: str) -> bool:
    """Whether a bundle is named by an address, not by a folder."""
    scheme, mark, _ = text.partition("://")
    return bool(mark) and scheme in SCHEMES


def shown(address: str) -> str:
    """An address without its query, which may be a signature, its password and its checksum."""
    return re.sub(r"//[^/@]*@", "//", address.partition("#")[0].partition("?")[0])[:300]
