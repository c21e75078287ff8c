"""Write the files that are derived from the profiles: index.json beside them, and the page docs/profiles.md.

Run it from anywhere after a profile has changed: python schemas/exports/build.py
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "profiles.md"

_INTRODUCTION = """\
# Export profiles

<!-- Written by schemas/exports/build.py from the profiles in schemas/exports/. -->

Tranship recognises the exports of the systems below by their headers: all headers of one set must be present, in
exactly this spelling. The summary, the report, `tranship inspect` and `--json` then name the profile
(`recognised: HubSpot contacts`). If the headers match several profiles, none is used, and a note says so.

A profile contains only what cannot be derived from the names of columns: which id, name, e-mail and address are the
customer's, and what the words of that system mean. A rule uses those of its columns that the file has. All other
columns are mapped by name, as usual, except that an id that the profile does not name is never used. Your own rules
(`--map`, `--set`, `--value`, `--ignore`, …) take precedence over the profile.

- `--profile NAME` uses a profile, whatever the headers are.
- `--profile none` turns recognition off.
- `--profile FILE` uses your own. `tranship inspect customers.csv --write mine.toml` writes one: a settings file with
  a table `[recognise]`, whose headers the files must have. Of a settings file that is used as a profile, only the
  settings about columns and values are used: `fields`, `ignore`, `values`, `defaults`, `set`, `where`, `timezone`,
  `date_format`, `blocked` and `on_invalid`, and `profile`, which names another profile on which it is based.
"""


def profiles() -> dict[str, dict[str, Any]]:
    """Return name → content of each profile, in the order of names."""
    return {file.stem: tomllib.loads(file.read_text(encoding="utf-8")) for file in sorted(HERE.glob("*.toml"))}


def header_sets(about: dict[str, Any]) -> list[list[str]]:
    """Return the sets of headers of a profile; one set may be written as a plain list."""
    headers = about["headers"]
    return headers if isinstance(headers[0], list) else [headers]


def index() -> str:
    """Return the text of index.json."""
    listed = {
        name: {"title": content["recognise"]["name"], "headers": header_sets(content["recognise"])}
        for name, content in profiles().items()
    }
    return json.dumps(listed, indent=1, ensure_ascii=False) + "\n"


def page() -> str:
    """Return the text of docs/profiles.md."""
    by_title = sorted(profiles().items(), key=lambda item: item[1]["recognise"]["name"].casefold())
    return _INTRODUCTION + "\n".join(_section(name, content) for name, content in by_title)


def _section(name: str, content: dict[str, Any]) -> str:
    about = content["recognise"]
    lines = [f"## {about['name']}", "", f"`--profile {name}`. Source: {about['source']}.", ""]
    for headers in header_sets(about):
        lines.append(f"- Recognised by {', '.join(f'`{header}`' for header in headers)}")
    rules = {**content.get("fields", {}), **content.get("set", {})}
    lines += [f"- `{field}` is {f'`{rule}`' if rule else 'left empty'}" for field, rule in rules.items()]
    for field, words in content.get("values", {}).items():
        meanings = (f"`{word}` is {f'`{value}`' if value else 'no value'}" for word, value in words.items())
        lines.append(f"- In `{field}`, {', '.join(meanings)}")
    if forms := content.get("date_format"):
        lines.append(f"- Dates are also read as {', '.join(f'`{form}`' for form in forms)}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
    (HERE / "index.json").write_text(index(), encoding="utf-8")
