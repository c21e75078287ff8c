"""Secrets of the process in messages of other systems: in every spelling, and in parts."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from tranship.connectors import known_secrets
from tranship.connectors.known_secrets import KeyFilter, safe_message, without_secrets

KEY = "sk_live_Zx/9+Qw=8%7rT5&y3<Lm"
SHORT = "p?ß7"


@pytest.fixture(autouse=True)
def known() -> Iterator[None]:
    before = set(known_secrets._learned)
    known_secrets._learned.clear()  # of other tests in this process
    known_secrets.learn(KEY, SHORT)
    yield
    known_secrets._learned.clear()
    known_secrets._learned.update(before)


SPELLED = [
    KEY,
    quote(KEY),
    quote(KEY, safe=""),
    quote(quote(KEY, safe=""), safe=""),
    quote(KEY, safe="").lower(),
    html.escape(KEY),
    json.dumps(KEY),
    KEY.replace("/", "\\/"),
    KEY.encode().hex(),
    KEY.encode().hex().upper(),
    *(base64.b64encode(before + KEY.encode() + b":").decode() for before in (b"", b"a", b"ab")),
    base64.urlsafe_b64encode(KEY.encode()).decode(),
    KEY[:10],
    KEY[7:19],
    KEY[-10:],
    quote(KEY[3:15], safe=""),
]


@pytest.mark.parametrize("spelled", SPELLED)
def test_a_secret_is_removed_in_every_spelling(spelled: str) -> None:
    cleaned = without_secrets(f"before {spelled} after")
    assert cleaned.startswith("before ")
    assert cleaned.endswith(" after")
    assert "***" in cleaned
    assert not any(spelled[at : at + 10] in cleaned for at in range(len(spelled) - 9))


@pytest.mark.parametrize("spelled", [SHORT, quote(SHORT), html.escape(SHORT)])
def test_a_short_secret_is_removed_as_a_whole(spelled: str) -> None:
    assert without_secrets(f"a {spelled} b") == "a *** b"


def test_other_text_stays() -> None:
    text = "email must be an email; 100% of & < \\ sk_live_Zx is 10 characters too short"
    assert without_secrets(text.replace("sk_live_Zx", "sk_live_")) == text.replace("sk_live_Zx", "sk_live_")


def test_secrets_of_the_environment_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "0123-abcd-4567")
    monkeypatch.setenv("DATABASE_URL", "postgresql://ann:geheim77@host/db")
    monkeypatch.setenv("PGPASSWORD", "kurz")
    monkeypatch.setenv("TOKEN_LIMIT", "5000")
    monkeypatch.setenv("KEY_FILE", __file__)
    text = f"0123-abcd-4567 geheim77 kurz 5000 {__file__}"
    assert without_secrets(text) == f"*** *** *** 5000 {__file__}"


def test_words_have_no_addresses_of_people_and_one_line() -> None:
    assert (
        safe_message("taken by jane@acme.example\nand \x1b[31mmax%40acme.example\u202e!") == "taken by *** and [*** !"
    )
    assert len(safe_message("x" * 300)) == 200


@pytest.mark.parametrize("spelled", SPELLED[:12])
def test_a_body_is_read_without_the_key(spelled: str) -> None:
    body = b'{"a": "' + spelled.encode() + b'"}'
    key_filter = KeyFilter(KEY)
    assert not any(spelled[at : at + 10].encode() in key_filter.clean(body) for at in range(len(spelled) - 9))
    # At any boundary of chunks.
    for cut in range(len(body)):
        chunks = key_filter.chunks()
        whole = chunks.next(body[:cut]) + chunks.next(body[cut:]) + chunks.rest()
        assert whole == key_filter.clean(body)


def test_a_body_without_the_key_stays() -> None:
    for repeats in (1, 10_000):
        body = json.dumps([{"name": "Zoë", "note": "sk_live_"}] * repeats).encode()
        assert KeyFilter(KEY).clean(body) is body


@pytest.mark.parametrize("before", [b"Zo\xc3\xab, ", b"\xff\x00 "], ids=["text", "no text"])
@pytest.mark.parametrize("key", [KEY, "a.b+c/d|e(f[g #-~<", "ßäöüéèêñ"])
def test_a_long_body_is_read_without_the_key(before: bytes, key: str) -> None:
    rest = before * 10_000
    for form in (key, key.encode().hex(), base64.b64encode(b"user:" + key.encode()).decode()):
        body = rest + b'"' + form.encode() + b'"' + rest
        cleaned = KeyFilter(key).clean(body)
        assert not any(form[at : at + 10].encode() in cleaned for at in range(8, len(form) - 12))
        assert cleaned.startswith(rest)
        assert cleaned.endswith(b'"' + rest)
