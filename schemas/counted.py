"""Counts of things in messages."""

from __future__ import annotations


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Return `1 record`, `2 records`, `1,000 records`; `plural` is for nouns that do not take an s."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def it_or_them(count: int) -> str:
    """Return the pronoun for so many things."""
    return "it" if count == 1 else "them"
