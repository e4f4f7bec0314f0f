"""The Accept header, as RFC 9110 section 12.5.1 has it."""

import pytest

from selsa_server.api.responses import choose_media_type
from selsa_server.errors import RequestError

JSON, LINES = "application/json", "application/x-ndjson"


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, JSON),
        ("", JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        ("application/x-ndjson", LINES),
        ("Application/X-NDJSON", LINES),
        ("application/x-ndjson, */*", LINES),
        ("text/html, */*;q=0.1", JSON),
        ("application/json;q=0.5, application/x-ndjson", LINES),
        ("application/json;q=0.5, application/x-ndjson;q=0.4", JSON),
        ("application/json;q=0, */*", LINES),
        ("*/*, application/json;q=0.2", LINES),
        ("application/x-ndjson;q=0.3, application/*;q=0.9", JSON),
    ],
)
def test_the_media_type_with_the_highest_quality_is_chosen(accept: str | None, chosen: str) -> None:
    assert choose_media_type(accept, (JSON, LINES)) == chosen


@pytest.mark.parametrize(
    "accept", ["text/html", "application/json;q=0", "video/mp4", "*/*;q=0", "nonsense", ";"]
)
def test_no_acceptable_media_type_is_an_error_that_lists_all(accept: str) -> None:
    with pytest.raises(RequestError, match=LINES):
        choose_media_type(accept, (JSON, LINES))
