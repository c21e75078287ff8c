"""The compression of a file to be written, by its name."""

from __future__ import annotations

from typing import Final, Literal

_PACKED: Final[dict[str, Literal["gzip", "zstd"]]] = {".gz": "gzip", ".zst": "zstd"}


def packing(spec: str) -> tuple[Literal["uncompressed", "gzip", "zstd"], str]:
    """Return the compression of a file, and its name in lower case without the suffix of the compression."""
    name = spec.lower()
    for suffix, packed in _PACKED.items():
        if name.endswith(suffix):
            return packed, name.removesuffix(suffix)
    return "uncompressed", name
