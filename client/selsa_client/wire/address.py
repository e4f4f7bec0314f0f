"""Addresses without secrets."""

from urllib.parse import urlsplit


def without_secrets(address: str) -> str:
    """An address that may be shown: without user, password, query and fragment."""
    parts = urlsplit(address)
    host = (parts.netloc.rpartition("@")[2]) or ""
    return f"{parts.scheme}://{host}{parts.path}"
