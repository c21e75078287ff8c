"""The form of the texts about codes."""

from __future__ import annotations

from typing import NamedTuple


class Explanation(NamedTuple):
    """The text about one code: sentences, and the lines of an example (empty: none)."""

    sentence: str
    meaning: str
    advice: str
    example: str


Texts = tuple[str, str, str]
"""Meaning, advice and example; `{field}` is the field of the code."""


def filled(code: str, sentence: str, texts: Texts) -> Explanation:
    """Return the explanation of a code, with the name of its field in the texts."""
    field = code.partition(".")[0]
    meaning, advice, example = (text.replace("{field}", field) for text in texts)
    return Explanation(sentence, meaning, advice, example)
