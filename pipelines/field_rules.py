"""Rules that build a field from columns: `Company | First Name + Last Name`.

`|` separates alternatives, of which the first that is filled is used; `+` joins columns with a blank between them,
leaving out empty ones. A column name that contains `|` or `+`, or begins with a double quote, is written in double
quotes, with `""` for a quote in it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from tranship.schemas.column_names import EVERYWHERE

if TYPE_CHECKING:
    from tranship.pipelines.expressions import Expression


_TOKEN: Final = re.compile(
    r'\s*(?:"(?P<quoted>(?:[^"]|"")*)"\s*(?=[|+]|$)|(?P<plain>[^|+"][^|+]*)|(?P<bad>.*))', re.DOTALL
)


class FieldRule(Struct, frozen=True):
    """How a field is built: from the first alternative that is filled, each a tuple of columns joined with a blank; or
    from an SQL expression, which excludes alternatives.
    """

    alternatives: tuple[tuple[str, ...], ...] = ()
    expression: Expression | None = None
    addresses: tuple[str, ...] = ()
    """The address that each alternative belongs to: a record has all of its fields from one address. Empty for a field
    that is not part of an address.
    """
    kinds: tuple[str | None, ...] = ()
    """The column that says what each of `addresses` is for, such as `Address 2 Type`; null where there is none."""
    before_company: int = 0
    """The number of alternatives before the company. A name there that is only that of the person, who is the last
    alternative, gives way to the company.
    """

    @property
    def of_several_addresses(self) -> bool:
        """Whether there is a choice between addresses. A country of all of them is no further one."""
        return len({*self.addresses} - {EVERYWHERE}) > 1

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the source that it uses, each once."""
        if self.expression is not None:
            return self.expression.columns
        return tuple(dict.fromkeys(column for alternative in self.alternatives for column in alternative))

    @property
    def column(self) -> str | None:
        """The only column of the field; null if the field is built."""
        plain = len(self.alternatives) == 1 and len(self.alternatives[0]) == 1
        return self.alternatives[0][0] if plain else None

    def __str__(self) -> str:
        """The rule as it is written in settings."""
        if self.expression is not None:
            return self.expression.text
        return " | ".join(" + ".join(map(quoted, alternative)) for alternative in self.alternatives)


def of_column(column: str) -> FieldRule:
    """Return the rule of a field that is one column."""
    return FieldRule(((column,),))


def parse(text: str) -> tuple[tuple[str, ...], ...]:
    """Return the alternatives of a rule, with the names of columns as they are written. Raises ValueError."""
    alternatives: list[list[str]] = [[]]
    position = 0
    while True:
        token = _TOKEN.match(text, position)
        assert token is not None  # noqa: S101  (`bad` matches anything)
        name = token["plain"].strip() if token["plain"] else token["quoted"]
        if token["bad"] is not None or name is None:
            raise ValueError("a column name is missing or a double quote is not closed")
        alternatives[-1].append(name.replace('""', '"') if token["quoted"] is not None else name)
        position = token.end()
        if position == len(text):
            return tuple(map(tuple, alternatives))
        if text[position] == "|":
            alternatives.append([])
        position += 1


def quoted(column: str) -> str:
    """Return the name of a column as a rule spells it."""
    needs_quotes = column != column.strip() or not column or column[0] == '"' or bool(set("|+") & set(column))
    return '"' + column.replace('"', '""') + '"' if needs_quotes else column


def option(field: str, rule: str) -> str:
    """Return the option that sets a rule, to be typed in a shell."""
    return argument("--map", field, rule)


def argument(flag: str, name: str, value: str) -> str:
    """Return an option with a pair, to be typed in a shell."""
    plain = not set('"$`\\!') & set(value)
    return f'{flag} {name}="{value}"' if plain else f"{flag} {shlex.quote(f'{name}={value}')}"


def ignore_option(column: str) -> str:
    """Return the option that leaves a column out, to be typed in a shell."""
    plain = not set('"$`\\!') & set(column)
    return f'--ignore "{column}"' if plain else f"--ignore {shlex.quote(column)}"


def to_json(rules: Mapping[str, FieldRule]) -> dict[str, Any]:
    """Return rules as a manifest keeps them."""
    return {
        field: rule.expression.text if rule.expression else [list(columns) for columns in rule.alternatives]
        for field, rule in rules.items()
    }
