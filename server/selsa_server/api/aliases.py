"""Aliases of a finished video applied to records that are JSON already.

A record is final when it leaves, but the summary may say that two numbers are one object. What is asked for
after the end gets the object's number at once.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

from pydantic import BaseModel, ValidationError

from selsa_server.jobs.files import ResultsSource

# In a string the quotation marks would be escaped, so this is always the field.
_NUMBER: Final = re.compile(rb'"track_id":(\d+)')


class _Last(BaseModel):
    aliases: dict[int, int] = {}


def renaming(aliases: Mapping[int, int]) -> Callable[[bytes], bytes]:
    """A function that gives records with the numbers of `aliases`; once is as good as twice."""
    texts = {str(number).encode(): b'"track_id":%d' % one for number, one in aliases.items()}
    if not texts:
        return lambda text: text
    return lambda text: _NUMBER.sub(lambda found: texts.get(found[1], found[0]), text)


def aliases_of(results: ResultsSource) -> dict[int, int]:
    """The aliases in the last record of a job that is done; reads all of them, block by block, and closes."""
    last = b""
    try:
        while block := results.block():
            last = block.splitlines()[-1]
        return _Last.model_validate_json(last).aliases
    except ValidationError:
        # Deleted meanwhile.
        return {}
    finally:
        results.close()
