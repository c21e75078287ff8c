"""The sentences about faults."""

from __future__ import annotations

import re

from tranship.schemas import faults


def test_addresses_in_sentences_are_nobodys() -> None:
    """Else `tranship erase` would take the reason of a stranger's reject for the customer who has the address."""
    sentences = [faults.sentence(code) for code in (*faults.RULES, *faults.WARNINGS)]
    found = {word for text in sentences for word in re.findall(r"[\w.+-]+@[\w-]+\.[\w.-]*\w", text)}
    assert found
    assert all(address.endswith(("@example.com", ".example")) for address in found), found
