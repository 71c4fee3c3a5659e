"""The media type of a file that is no recording, by its name."""

from __future__ import annotations

import mimetypes

UNKNOWN = "application/octet-stream"

# only what Python itself lists: a machine's own lists would give one file several types
_TYPES = mimetypes.MimeTypes()
for _suffix, _type in {
    ".arrow": "application/vnd.apache.arrow.file",
    ".jsonl": "application/jsonl",
    ".ndjson": "application/x-ndjson",
    ".npy": "application/x-npy",
    ".npz": "application/x-npz",
    ".parquet": "application/vnd.apache.parquet",
    ".safetensors": "application/x-safetensors",
    ".webp": "image/webp",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
}.items():
    _TYPES.add_type(_type, _suffix)


def media_type_of(name: str) -> str:
    """The media type that the suffix tells, such as 'application/json'; of packed files that of the packing."""
    kind, packed = _TYPES.guess_type(f"x/{name.rpartition('/')[2]}".lower())
    return f"application/{packed}" if packed else kind or UNKNOWN
