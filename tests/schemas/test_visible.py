"""Characters that control a terminal, or that are invisible, are spelled out."""

from __future__ import annotations

import json

import pytest

from tranship.schemas.visible import shown, visible, visible_json, visible_lines


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Zoë 東 – 100 %", "Zoë 東 – 100 %"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x1b[31m\x07\x7f\x9b", "\\x1b[31m\\x07\\x7f\\x9b"),
        ("a\u202eb\u2066\u200b\ufeff", "a\\u202eb\\u2066\\u200b\\ufeff"),
        ("\u2028\u2029", "\\u2028\\u2029"),
        ("\U000e0041", "\\U000e0041"),
        ("\udcff", "\\udcff"),
        ("a\u00a0b\u3000", "a\u00a0b\u3000"),
    ],
)
def test_text_on_one_line(text: str, expected: str) -> None:
    assert visible(text) == expected
    assert visible(expected) == expected


def test_line_breaks_of_a_text_of_several_lines_stay() -> None:
    assert visible_lines("a\x1b\n\nb\r\n") == "a\\x1b\n\nb\\r\n"


@pytest.mark.parametrize("text", ["plain", "\x7f\x9b\u202e\u2028", "\U000e0041\udcff", "Zoë\n\x1b"])
def test_json_means_the_same(text: str) -> None:
    written = json.dumps({"a": text, text: [1]}, indent=1, ensure_ascii=False)
    shown = visible_json(written)
    assert json.loads(shown) == {"a": text, text: [1]}
    assert visible(shown.replace("\n", "")) == shown.replace("\n", "")


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("no run postgresql://ann:p@s/s@h:1/db here", "no run postgresql://ann:***@h:1/db here"),
        ("'https:/ann:pw@h/x': is a folder", "'https:/ann:***@h/x': is a folder"),
        ("give a password as https://user:password@host/…", "give a password as https://user:password@host/…"),
        ("https://h:8080/a@b.csv, postgresql://ann:***@h", "https://h:8080/a@b.csv, postgresql://ann:***@h"),
        (
            "https://[2001:db8::1]:8080/a@b.csv and ann@acme.example",
            "https://[2001:db8::1]:8080/a@b.csv and ann@acme.example",
        ),
        ("'postgres://h/d?user=ann&password=p;w': no run", "'postgres://h/d?user=ann&password=***': no run"),
        ("https://h/x?X-Amz-Signature=0a1b&n=1#token=t", "https://h/x?X-Amz-Signature=***&n=1#token=***"),
        ("postgresql://h/d?sslkey=/etc/k.pem", None),
        ("--set a=b?key=c", None),
    ],
)
def test_passwords_of_addresses_in_a_message_are_hidden(text: str, hidden: str | None) -> None:
    expected = text if hidden is None else hidden
    assert shown(text) == expected
    assert shown(expected) == expected


def test_a_message_without_end_is_read_in_linear_time() -> None:
    assert shown("a" * 300_000 + "@").endswith("a@")
    assert shown("https://h/" + "?key" * 100_000 + "=").endswith("key=")
