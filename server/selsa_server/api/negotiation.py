"""Which of the media types that can be given a client wants (RFC 9110 section 12.5.1)."""

from collections.abc import Sequence

from selsa_server.errors import RequestError


def choose_media_type(accept: str | None, offers: Sequence[str]) -> str:
    """The offer that an `Accept` header rates highest; of equals the more explicitly named, then the first.

    Raises:
        RequestError: the header accepts none of them.
    """
    if accept is None or not accept.strip():
        return offers[0]
    ranges = [_media_range(part) for part in accept.split(",") if part.strip()]
    best, best_rating = None, (0.0, -1)
    for offer in offers:
        rating = _rating(offer, ranges)
        if rating[0] > 0 and rating > best_rating:
            best, best_rating = offer, rating
    if best is None:
        raise RequestError(
            "not_acceptable",
            f"Accept is {accept[:200]!r}; this address gives {' or '.join(offers)}.",
            parameter="Accept",
            allowed=", ".join(offers),
        )
    return best


def _media_range(part: str) -> tuple[str, float]:
    name, *parameters = (piece.strip().lower() for piece in part.split(";"))
    quality = 1.0
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            try:
                quality = min(1.0, max(0.0, float(value)))
            except ValueError:
                quality = 0.0
    return name, quality


def _rating(offer: str, ranges: Sequence[tuple[str, float]]) -> tuple[float, int]:
    """(quality, how explicitly: 2 by name, 1 by kind, 0 by */*) by the most explicit range."""
    kind = offer.partition("/")[0] + "/*"
    for explicit, name in ((2, offer), (1, kind), (0, "*/*")):
        qualities = [quality for found, quality in ranges if found == name]
        if qualities:
            return max(qualities), explicit
    return 0.0, -1
