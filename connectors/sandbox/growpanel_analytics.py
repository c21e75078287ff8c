"""The analytics view of GrowPanel's customers, `/customers`: what it shows of one, and the filters of its list.

There are no invoices in the sandbox, so what GrowPanel computes from them is nothing: amounts are nought, plans and
payment methods are not set. https://api.growpanel.io/openapi.json
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final

Row = dict[str, Any]
Test = Callable[[Row], bool]

BASE_CURRENCY: Final = "usd"
_SHOWN: Final = (
    *("id", "name", "email", "status", "country", "state", "created_date", "trial_started", "paid_started"),
    *("cancel_date", "currency", "custom_variables"),
)


def analytics_item(row: Row) -> Row:
    """A customer as the analytics list shows it."""
    return {
        **{field: row.get(field) for field in _SHOWN},
        **{"trial_end_date": None, "renewal_date": None, "overdue_date": None},
        **{"mrr": 0, "payments": 0, "total_paid_base_currency": 0, "total_paid_customer_currency": 0},
    }


def analytics_record(row: Row) -> Row:
    """A customer as the analytics view shows it alone."""
    item = analytics_item(row)
    del item["mrr"], item["payments"]
    item["currency"] = item["currency"] or BASE_CURRENCY
    return {
        **item,
        "current_subscriptions": [],
        "current_mrr_base_currency": 0,
        "current_mrr_customer_currency": 0,
        "churn_risk_score": None,
    }


_WORDS: Final[dict[str, Callable[[Row], Sequence[str | None]]]] = {
    "status": lambda row: [row["status"]],
    "currency": lambda row: [row["currency"]],
    "region": lambda row: [row["country"]],
    "state": lambda row: [row["state"]],
    **dict.fromkeys(("payment_method", "pricing_model", "plan", "billing_freq", "cancel_reason"), lambda _: [None]),
    "has_discount": lambda _: ["false"],
}
_SPANS: Final = (
    *("created_date", "trial_started", "paid_started", "cancel_date"),
    *("renewal_date", "trial_end_date"),
)
_AMOUNTS: Final = ("mrr", "last_active_mrr", "total_paid", "payments")


def analytics_filter(asked: Mapping[str, str], source_types: Mapping[str, str]) -> list[Test]:
    """What a customer must pass to be in the analytics list. `source_types`: id of a data source → its type.

    Raises ValueError, with words for the answer, where a filter cannot be read. Unknown parameters say nothing.
    """
    tests: list[Test] = []
    for name, said in asked.items():
        if name == "search":
            tests.append(_search(said.casefold()))
        elif name == "customer":
            tests.append(_words([said], lambda row: [row["id"]], fold=False))
        elif name == "data_source":
            values = lambda row: [row["data_source"], source_types.get(row["data_source"])]  # noqa: E731
            tests.append(_words(said.split(), values))
        elif name in _WORDS:
            tests.append(_words(said.split(), _WORDS[name]))
        elif name in _SPANS:
            tests.append(_days(name, said))
        elif name in _AMOUNTS:
            tests.append(_amount(name, said))
        elif name.startswith("custom_"):
            variable = name.removeprefix("custom_")
            tests.append(_words(said.split("~~"), lambda row, key=variable: [row["custom_variables"].get(key)]))
    return tests


def _search(needle: str) -> Test:
    # An e-mail address holds its domain.
    return lambda row: any(needle in (row[field] or "").casefold() for field in ("name", "email"))


def _words(words: Sequence[str], values: Callable[..., Sequence[str | None]], *, fold: bool = True) -> Test:
    """One of the words, none of those with `~` in front; `*` is any value, `~` alone none."""
    same = str.casefold if fold else str
    wanted = {same(word) for word in words if not word.startswith("~") or word == "~"}
    unwanted = {same(word[1:]) for word in words if word.startswith("~") and word != "~"}

    def test(row: Row) -> bool:
        found = {same(value) for value in values(row) if value}
        hit = bool(found & wanted) or ("*" in wanted and bool(found)) or ("~" in wanted and not found)
        return (hit or not wanted) and not found & unwanted

    return test


def _days(field: str, said: str) -> Test:
    if said in ("*", "~"):
        return lambda row: bool(row.get(field)) == (said == "*")
    first, dots, last = said.partition("..")
    try:
        low = date.fromisoformat(first) if first else date.min
        high = (date.fromisoformat(last) if last else date.max) if dots else low
    except ValueError:
        raise ValueError(f"{field}: not a date or a range of dates") from None
    if not (first or last):
        raise ValueError(f"{field}: not a date or a range of dates")
    return lambda row: bool(row.get(field)) and low <= datetime.fromisoformat(row[field]).date() <= high


def _amount(field: str, said: str) -> Test:
    """All amounts are nought here. A single bound is not part of its range, two bounds are."""
    found = re.fullmatch(r"(?:(\d+)|(\d+)\.\.|\.\.(\d+)|(\d+)\.\.(\d+))", said)
    if not found:
        raise ValueError(f"{field}: not a number or a range of numbers")
    exact, _, below, low, _ = found.groups()
    fits = exact is not None and int(exact) == 0
    fits = fits or (below is not None and int(below) > 0) or (low is not None and int(low) == 0)
    return lambda _: fits
