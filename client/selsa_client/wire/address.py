"""Addresses as they may be shown."""

from urllib.parse import urlsplit


def without_secrets(address: str) -> str:
    """An address as it may be shown: without user, password, query and fragment."""
    parts = urlsplit(address)
    host = (parts.netloc.rpartition("@")[2]) or ""
    return f"{parts.scheme}://{host}{parts.path}"
