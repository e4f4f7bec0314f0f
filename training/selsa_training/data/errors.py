"""Errors around data sets. The message is one sentence for the person at the command line."""


class DataError(Exception):
    """Base of all errors of data sets."""


class DataIssuesError(DataError):
    """A data set has fatal issues; the message names the first and counts them by kind."""


class ImageError(DataError):
    """An image file is missing, truncated, or not an image."""


class SpriteError(DataError):
    """A folder or font does not contain the sprites that the synthetic generator needs."""
