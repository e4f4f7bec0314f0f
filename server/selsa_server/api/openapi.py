"""Parts of the OpenAPI document that FastAPI does not derive from types."""

from collections.abc import Callable
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from selsa_server.schema.detect import ErrorRecord, FrameRecord, SummaryRecord, VideoRecord
from selsa_server.schema.jobs import VideoAddress
from selsa_server.schema.models import LoadModel

REF: Final = "#/components/schemas/"
# Models that routes read or write without FastAPI's knowledge.
MORE: Final[tuple[type[BaseModel], ...]] = (ErrorRecord, LoadModel, VideoAddress)


def schema_of(model: type[BaseModel]) -> dict[str, str]:
    """A reference to a model among the document's schemas, so that generated clients have one type for it."""
    return {"$ref": REF + model.__name__}


def with_more_schemas(openapi: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    """The function that makes the document, with the schemas of `MORE` and of a record."""

    def document() -> dict[str, Any]:
        made = openapi()
        _, more = models_json_schema([(model, "validation") for model in MORE], ref_template=REF + "{model}")
        mapping = {kind: REF + record.__name__ for kind, record in RECORDS.items()}
        line = {
            "description": "One line of NDJSON.",
            "oneOf": [{"$ref": reference} for reference in mapping.values()],
            "discriminator": {"propertyName": "type", "mapping": mapping},
        }
        made["components"]["schemas"] |= {**more["$defs"], "Record": line}
        return made

    return document


BINARY: Final = {"schema": {"type": "string", "format": "binary"}}

REQUEST_BODY: Final[dict[str, Any]] = {
    "required": True,
    "description": "The video: the body itself, or the one part `file` of a form.",
    "content": {
        "application/octet-stream": BINARY,
        "video/*": BINARY,
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {"file": {"type": "string", "format": "binary"}},
                "required": ["file"],
                "additionalProperties": False,
            }
        },
    },
}

JOB_BODY: Final[dict[str, Any]] = {
    "required": True,
    "description": "The video as for `/detect`, or where it is.",
    "content": {"application/json": {"schema": schema_of(VideoAddress)}, **REQUEST_BODY["content"]},
}

# OpenAPI 3.1 describes a body as a whole, so that the schema of a line is one of its own, `Record`.
NDJSON_BODY: Final[dict[str, Any]] = {
    "schema": {
        "type": "string",
        "description": "One `Record` per line: a video, frames, a summary or an error.",
    }
}
RECORDS: Final = {
    "video": VideoRecord,
    "frame": FrameRecord,
    "summary": SummaryRecord,
    "error": ErrorRecord,
}
