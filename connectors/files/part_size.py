"""How large the parts of text files are, so that the memory of a run depends neither on a file nor on its records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

PIECE_BYTES = 2 << 20
"""The bytes read and cut at once: small enough for the processor's cache."""
PIECE_RECORDS = 1 << 16
"""The most lines cut at once. Lines of a few bytes cost more memory as records than as text."""
PART_BYTES = 24 << 20
"""The bytes of one part: enough to outweigh the fixed cost of a batch."""
PART_RECORDS = 1 << 17
"""The records of one part, where they are so short that it has fewer bytes."""


def short_pieces(pieces: Iterable[tuple[bytes, int]], mark: bytes = b"\n") -> Iterator[tuple[bytes, int]]:
    """Yield pieces of a file, each with the position at its end, so that none has many more than PIECE_RECORDS records;
    `mark` is a byte that occurs in each record.

    Where a piece is cut, each part has the position of the whole.
    """
    for piece, position in pieces:
        # Much faster than `bytes.count`.
        marks = int(np.count_nonzero(np.frombuffer(piece, np.uint8) == mark[0]))
        count = -(-marks // PIECE_RECORDS)
        if count <= 1:
            yield piece, position
            continue
        size = -(-len(piece) // count)
        for start in range(0, len(piece), size):
            yield piece[start : start + size], position
