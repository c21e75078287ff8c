"""The analytics view of GrowPanel's customers, `/customers`: the form of a customer, and the filters of the list.

The sandbox has no invoices, so the values that GrowPanel computes from them are empty: amounts are zero, plans and
payment methods are null. https://api.growpanel.io/openapi.json
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
    """Return a customer in the form of the analytics list."""
    return {
        **{field: row.get(field) for field in _SHOWN},
        **{"trial_end_date": None, "renewal_date": None, "overdue_date": None},
        **{"mrr": 0, "payments": 0, "total_paid_base_currency": 0, "total_paid_customer_currency": 0},
    }


def analytics_record(row: Row) -> Row:
    """Return a single customer in the form of the analytics view."""
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


def analytics_filter(filters: Mapping[str, str], source_types: Mapping[str, str]) -> list[Test]:
    """Return the conditions that a customer in the analytics list must satisfy. `source_types`: id of a data source →
    its type.

    Unknown parameters are ignored. Raises ValueError, with the message of the response, for an invalid filter.
    """
    tests: list[Test] = []
    for name, value in filters.items():
        if name == "search":
            tests.append(_search(value.casefold()))
        elif name == "customer":
            tests.append(_words([value], lambda row: [row["id"]], fold=False))
        elif name == "data_source":
            values = lambda row: [row["data_source"], source_types.get(row["data_source"])]  # noqa: E731
            tests.append(_words(value.split(), values))
        elif name in _WORDS:
            tests.append(_words(value.split(), _WORDS[name]))
        elif name in _SPANS:
            tests.append(_days(name, value))
        elif name in _AMOUNTS:
            tests.append(_amount(name, value))
        elif name.startswith("custom_"):
            variable = name.removeprefix("custom_")
            tests.append(_words(value.split("~~"), lambda row, key=variable: [row["custom_variables"].get(key)]))
    return tests


def _search(needle: str) -> Test:
    # An e-mail address contains its domain.
    return lambda row: any(needle in (row[field] or "").casefold() for field in ("name", "email"))


def _words(words: Sequence[str], values: Callable[..., Sequence[str | None]], *, fold: bool = True) -> Test:
    """Match one of the words and none of those with the prefix `~`; `*` is any value, `~` alone no value."""
    same = str.casefold if fold else str
    wanted = {same(word) for word in words if not word.startswith("~") or word == "~"}
    unwanted = {same(word[1:]) for word in words if word.startswith("~") and word != "~"}

    def test(row: Row) -> bool:
        found = {same(value) for value in values(row) if value}
        hit = bool(found & wanted) or ("*" in wanted and bool(found)) or ("~" in wanted and not found)
        return (hit or not wanted) and not found & unwanted

    return test


def _days(field: str, value: str) -> Test:
    if value in ("*", "~"):
        return lambda row: bool(row.get(field)) == (value == "*")
    first, dots, last = value.partition("..")
    try:
        low = date.fromisoformat(first) if first else date.min
        high = (date.fromisoformat(last) if last else date.max) if dots else low
    except ValueError:
        raise ValueError(f"{field}: not a date or a range of dates") from None
    if not (first or last):
        raise ValueError(f"{field}: not a date or a range of dates")
    return lambda row: bool(row.get(field)) and low <= datetime.fromisoformat(row[field]).date() <= high


def _amount(field: str, value: str) -> Test:
    """Match amounts, which are all zero here. A single bound is not part of its range, two bounds are."""
    found = re.fullmatch(r"(?:(\d+)|(\d+)\.\.|\.\.(\d+)|(\d+)\.\.(\d+))", value)
    if not found:
        raise ValueError(f"{field}: not a number or a range of numbers")
    exact, _, below, low, _ = found.groups()
    fits = exact is not None and int(exact) == 0
    fits = fits or (below is not None and int(below) > 0) or (low is not None and int(low) == 0)
    return lambda _: fits
