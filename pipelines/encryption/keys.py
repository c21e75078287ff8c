"""Recipients and identities of age: the public halves of keys, and the files with the secret ones.

No message repeats a text that could be a secret key, nor what the library says about it.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tranship.connectors.errors import ConfigError, MissingDriver

_MOST: Final = 1 << 20
_IDENTITIES: Final = "Name the file of age-keygen, or a private SSH key (ed25519, RSA) without a passphrase."


def recipients(texts: Sequence[str]) -> list[Any]:
    """Return recipients. Raises ConfigError if one cannot be used, MissingDriver if the library is not installed."""
    age = library()
    found = []
    for number, text in enumerate(texts, 1):
        kind = age.ssh if text.startswith("ssh-") else age.x25519
        try:
            found.append(kind.Recipient.from_str(text))
        except age.RecipientError:
            which = f"recipient {number} of {len(texts)}" if len(texts) > 1 else "the recipient"
            raise ConfigError(
                f"--encrypt-to: {which} is not a public key of age. Give the line that begins with age1, as "
                "age-keygen prints it, or a public SSH key (ssh-ed25519, ssh-rsa)."
            ) from None
    return found


def identities(file: Path) -> list[Any]:
    """Return the identities in a file. Raises ConfigError if there are none, MissingDriver."""
    age = library()
    try:
        with file.open("rb") as opened:
            contents = opened.read(_MOST)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "it is not a file"
        raise ConfigError(f"--identity {file}: cannot be read ({reason.lower()}). {_IDENTITIES}") from None
    try:
        if contents.startswith(b"-----BEGIN "):
            return [age.ssh.Identity.from_buffer(contents)]
        lines = (line.strip() for line in contents.decode().splitlines())
        found = [age.x25519.Identity.from_str(line) for line in lines if line and not line.startswith("#")]
    except (age.IdentityError, UnicodeDecodeError):
        found = []
    if not found:
        raise ConfigError(f"--identity {file}: has no secret key of age, or others beside it. {_IDENTITIES}")
    return found


def library() -> Any:
    """Return pyrage. Raises MissingDriver."""
    try:
        return importlib.import_module("pyrage")
    except ImportError as error:
        raise MissingDriver("--encrypt-to and --identity need an extra: pip install 'tranship[encrypt]'") from error
