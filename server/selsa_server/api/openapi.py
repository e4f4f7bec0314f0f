"""Parts of the OpenAPI document that FastAPI does not derive from types."""

from typing import Any, Final

from selsa_server.schema.detect import ErrorRecord

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

NDJSON_SCHEMA: Final[dict[str, Any]] = {
    "description": "One record per line: a video, frames, then exactly one summary or error.",
    "oneOf": [
        {"$ref": "#/components/schemas/VideoRecord"},
        {"$ref": "#/components/schemas/FrameRecord"},
        {"$ref": "#/components/schemas/SummaryRecord"},
        ErrorRecord.model_json_schema(),
    ],
}
