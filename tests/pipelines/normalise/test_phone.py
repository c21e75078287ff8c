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
