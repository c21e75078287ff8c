"""HTML in parts: what is escaped, and what is not broken between lines."""

from __future__ import annotations

import pytest

from tranship.pipelines.pages import markup


@pytest.mark.parametrize(
    ("prose", "expected"),
    [
        ("raise --max-rejects.", 'raise <span class="word">--max-rejects</span>.'),
        ("--map or --value", '<span class="word">--map</span> or <span class="word">--value</span>'),
        ("a - b -- c", "a - b -- c"),
        ("<b> --mode", '&lt;b&gt; <span class="word">--mode</span>'),
    ],
)
def test_options_in_sentences_stay_whole(prose: str, expected: str) -> None:
    assert markup.sentences(prose) == expected


def test_a_command_is_broken_between_words_only() -> None:
    found = markup.command("tranship fix 20260101T000000-a1b2c3 --out 'a b'")
    words = ["tranship", "fix", "20260101T000000-a1b2c3", "--out", "&#x27;a", "b&#x27;"]
    assert (
        found == f'<code class="command">{" ".join(f"""<span class="word">{word}</span>""" for word in words)}</code>'
    )
