"""Words become codes and numbers of days, or stay unknown."""

from __future__ import annotations

import polars as pl
import pytest

from tranship.pipelines.normalise import codes


@pytest.mark.parametrize(
    ("terms", "days"),
    [
        ("30 dagen", 30),
        ("à 30 jours", 30),
        ("en 30 días", 30),
        ("in 14 Tagen", 14),
        ("30 Tage nach Rechnungsdatum", 30),
        ("30 gg. d.f.", 30),
        ("Netto 8 dage", 8),
        ("14 dni", 14),
        ("Kontant", 0),
        ("Direct betalen", 0),
        ("30 jours fin de mois", None),
        ("30 giorni fine mese", None),
        ("Lb. md. 30 dage", None),
        ("A30", None),
        ("à 30", None),
        ("Z9", None),
    ],
)
def test_terms_are_days_only_where_they_say_so(terms: str, days: int | None) -> None:
    assert codes.net_terms(pl.Series([terms])).to_list() == [days]


@pytest.mark.parametrize(
    ("word", "kind"),
    [("Pessoa Jurídica", "BUSINESS"), ("Persona física", "INDIVIDUAL"), ("osoba fizyczna", "INDIVIDUAL")],
)
def test_kinds_of_persons_are_customer_types(word: str, kind: str) -> None:
    assert codes.customer_type(pl.Series([word])).to_list() == [kind]
