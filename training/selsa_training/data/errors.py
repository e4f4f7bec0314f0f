"""Errors around data sets. The message is one sentence for the person at the command line."""


class DataError(Exception):
    """A data set cannot be read, made or used."""


class ImageError(DataError):
    """An image file is missing, truncated, or not an image."""
