"""The sections about codes, exit codes and errors."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from builder.markdown import anchor, prose
from tranship.connectors import errors
from tranship.pipelines import explain
from tranship.pipelines.exit_codes import EXIT_CODES
from tranship.schemas.explanations import refusals
from tranship.schemas.faults import RULES, WARNINGS

_FEW: Final = 2


def codes(known: Iterable[str]) -> str:
    """Return a section for each text, with the codes that share it."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for code in known:
        _, meaning, advice, example = explain.page(code).explanation
        rule = RULES.get(code) or WARNINGS.get(code) or explain.page(code).explanation.sentence
        field = code.partition(".")[0]
        generic = tuple(re.sub(rf"\b{field}\b", "FIELD", text) for text in (meaning, advice, example))
        groups.setdefault((rule, *generic[:2]), []).append(code)  # type: ignore[arg-type]
    return "\n\n".join(_code_section(rule, members) for (rule, *_), members in groups.items())


def _code_section(rule: str, members: list[str]) -> str:
    _, meaning, advice, example = explain.page(members[0]).explanation
    is_reason = "." not in members[0]
    heading = refusals.shown(members[0]) if is_reason else ", ".join(f"`{code}`" for code in members)
    if len(members) > _FEW:
        heading = f"`FIELD.{members[0].partition('.')[2]}`"
        fields = ", ".join(f"`{code.partition('.')[0]}`" for code in members)
        meaning = f"{meaning}\nThe fields are {fields}."
    return _section("".join(map(anchor, members)), heading, rule, meaning, advice, example)


def _section(anchors: str, heading: str, rule: str, meaning: str, advice: str, example: str) -> str:
    first, *more = meaning.split("\n")
    parts = [anchors, f"### {heading}", f"*{rule}*" if "`" not in rule and "*" not in rule else rule, prose(first)]
    if more:
        parts.append("\n".join(f"- {line}" if ": " in line else prose(line) for line in more))
    parts.append(f"**What to do.** {prose(advice)}")
    if example:
        parts.append(f"```text\n{example}\n```")
    return "\n\n".join(parts)


def exit_codes() -> str:
    """Return a section for each exit code."""
    return "\n\n".join(
        _section(anchor(str(code)), str(code), *explain.page(str(code)).explanation) for code in EXIT_CODES
    )


def errors_of_python() -> str:
    """Return a section for each error."""
    return "\n\n".join(
        _section(anchor(name), f"`tranship.{name}`", *explain.page(name).explanation[:3], "")
        + _based_on(getattr(errors, name))
        for name in explain.error_names()
    )


def _based_on(kind: type[Exception]) -> str:
    base = kind.__bases__[0].__name__
    return "" if base == "Exception" else f" It is a kind of [`{base}`](#{base})."
