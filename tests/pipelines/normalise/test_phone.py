"""Phone numbers, compared with libphonenumber."""

from __future__ import annotations

import polars as pl
import pytest

from tranship.pipelines.normalise.phone import phone


def test_phones_agree_with_libphonenumber_on_its_own_examples():
    phonenumbers = pytest.importorskip("phonenumbers")
    rows = []
    for region in phonenumbers.SUPPORTED_REGIONS:
        number = phonenumbers.example_number(region)
        for form in (phonenumbers.PhoneNumberFormat.INTERNATIONAL, phonenumbers.PhoneNumberFormat.NATIONAL):
            e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
            rows.append((region, phonenumbers.format_number(number, form), e164))
    frame = pl.DataFrame(rows, ["country", "given", "e164"], orient="row")
    read, _, _ = phone(frame["given"], frame["country"])
    wrong = frame.with_columns(read=read).filter(pl.col("read") != pl.col("e164"))
    # A number kept unchanged (with a warning) does no harm; another number would.
    harmful = wrong.filter(pl.col("read") != pl.col("given"))
    assert harmful.height <= 2, harmful.rows()
    assert wrong.height <= 0.03 * frame.height


def test_a_number_with_its_calling_code_is_not_given_it_twice():
    phonenumbers = pytest.importorskip("phonenumbers")
    rows = []
    for region in phonenumbers.SUPPORTED_REGIONS:
        for kind in (phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE):
            if number := phonenumbers.example_number_for_type(region, kind):
                e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
                national = phonenumbers.national_significant_number(number)
                rows += [(region, e164.removeprefix("+"), e164), (region, national, e164)]
    frame = pl.DataFrame(rows, ["country", "given", "e164"], orient="row")
    read, _, _ = phone(frame["given"], frame["country"])
    wrong = frame.with_columns(read=read).filter(pl.col("read") != pl.col("e164"))
    # A short number with the code is as long as a mobile number without it: 49 30 123456 and 0493 0123456.
    assert wrong.height <= 5, wrong.rows()
    # A number that begins with the digits of the calling code by chance is a national number.
    assert wrong.filter(pl.col("e164").str.len_bytes() > pl.col("given").str.len_bytes() + 1).is_empty(), wrong.rows()


@pytest.mark.parametrize(
    ("number", "country", "read", "is_shortened"),
    [
        ("0423 555 018 / 0423 555 019", "IT", "+390423555018", True),
        ("+39 02 55501234/333 5550177", "IT", "+390255501234", True),
        ("02 55501234 - 333 5550177", "IT", "+390255501234", True),
        ("01 23 45 67 89 ou 06 12 34 56 78", "FR", "+33123456789", True),
        ("(11) 3255-0134 / (11) 98855-0177", "BR", "+551132550134", True),
        ("089 / 45550123", "DE", "+498945550123", False),
        ("+49 (0)33439 / 1234567", "DE", "+49334391234567", False),
        ("0043 2742 / 5551234", "AT", "+4327425551234", False),
        ("1 (415) 555 - 0123", "US", "+14155550123", False),
    ],
)
def test_the_first_of_two_numbers_is_not_an_area_code(number: str, country: str, read: str, is_shortened: bool) -> None:
    found, unread, shortened = phone(pl.Series([number]), pl.Series([country]))
    assert (found[0], unread[0], shortened[0]) == (read, False, is_shortened)
