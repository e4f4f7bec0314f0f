"""Result files: encoders for the records of one video, by format."""

from selsa_client.formats.choice import FORMATS, FormatName, default_suffix, encoder, format_of
from selsa_client.formats.encoder import Encode

__all__ = ["FORMATS", "Encode", "FormatName", "default_suffix", "encoder", "format_of"]
