"""Parts of a page that are computed, between marks: `<!-- name -->` and `<!-- end of name -->`."""

import re
from collections.abc import Iterable

__all__ = ["with_part"]


def with_part(page: str, name: str, lines: Iterable[str]) -> str:
    """The page with these lines between the marks of that name.

    Raises:
        ValueError: the page has no such marks, or has them twice.
    """
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    made = "\n".join([begin, *lines, end])
    page, found = re.subn(f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: made, page, flags=re.DOTALL)
    if found != 1:
        raise ValueError(f"{begin} ... {end} is {found} times in the page; it has to be there once")
    return page
