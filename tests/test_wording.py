"""The language of the project: replaced sentences do not come back, and counts are singular or plural."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

REPLACED = {
    r"is not a known value\b": 'unknown status "aktiv". Use active, trial, …',
    r"could not be read: an ISO 8601": "is not a recognised date. Give its format: --date-format %m/%d/%Y",
    r"records are as run\b": "Input unchanged since run X: reused its 46 parsed records",
    r"what only the whole input can tell": "Duplicates are checked during a full run.",
    r"\bbad weather\b": "simulated failures",
    r"a plan to sign": "review and approve a plan",
    r"a first ten to look at": "migrate ten customers first",
    r"whatever dies\b": "each is written exactly once, even if the process dies",
    r"what a way between two providers loses": "which fields are lost between two providers",
    r"\bThe same are: ": "A cached result is reused only if all of these match: …",
    r"\bRather not from the address": "Avoid putting the password in the URL: it is visible in the process list.",
    r"held by somebody else": "locked",
    r"\bbroken answer\b": "invalid response",
    r"\bWhat has come is kept": "Downloaded pages are kept.",
    r"\bWhat was sent is written down": "Completed writes are in the journal.",
    r"nobody knows what became of": "sent, outcome unknown",
    r"\bmoved since the plan\b": "has changed since the plan was made",
    r"for want of a place of their own": "(no native field)",
    r"are too little to compare": "is not enough memory to compare",
    r"\bis no HTTP\b": "is not valid HTTP",
    r"\bdo once more what failed": "Retry failed records",
    r"\bSay the version\b": "Show the version",
    r"\bwait for nobody\b": "are never blocked",
    r"\bfound out if not given\b": "detected by default",
    r"\bfor ever\b": "no limit",
    r"(?<!such )\bas \d+(?:ms|s|min)\b": "e.g. 30s",
    r"\bcan stand here\b": "Add any option",
    r"\bby no rule\b": "not mapped",
    r"\ball 1 record\b": "1 record",
    r"\ba moment may be the same\b": "allow equal timestamps",
    r"\bwould fit, too\b": "would also match",
    r"\bno column fits\b": "no matching column",
    r"\b(?:not|never) let (?:\w+ ){0,2}go\b": "does not allow it to be deleted",
    r"\bas (?:it stands|they stand)\b": "unchanged",
    r"\bnobody can read\b": "unreadable",
    r"\bin (?:a|an) (?:process|environment|folder) of its own\b": "in a separate process",
    r"\bwhat becomes of\b": "the outcome of",
    r"\b(?:is|are|was|were|be) gone on with\b": "continued",
    r"\bat the most\b": "at most",
    r"\btak(?:e|es|en|ing) [\w ]{0,12}\bapart\b": "parse",
    r"\bto be had\b": "available",
    r"\bthrow-?away\b": "temporary",
    r"\bsomebody else's\b": "another user's, another process's",
    r"\bwho is who\b": "identity",
    r"\bwhat should be written\b": "unknown destination. Use …",
    r"\bcannot be so\b": "is invalid",
    r"\bno date can be read by\b": "it cannot match any date",
    r"\bis not as Tranship wrote it\b": "was changed or damaged since Tranship wrote it",
    r"\bthe provider's words\b": "the provider's message",
    r"\bmade anew\b": "created again",
    r"\bmay say whether\b": "may be a flag",
    r"\bhas another shape than\b": "does not have the documented shape",
    r"\bdid not read its sources?\b": "its sources were not read to the end",
    r"\bknows nothing of\b": "does not import",
    r"\bcannot be told\b": "cannot be distinguished, is unknown",
    r"\btold (?:apart|from)\b": "distinguished",
    r"\b(?:is|are|be) said (?:of|here|to be)\b": "is reported",
    r"\blies? in (?!wait)": "is in, is within",
    r"\bthose of today\b": "the current ones",
    r"\bwhat tells\b": "the mark that shows",
    r"\bis an option of \w+, and this run\b": "applies only to Excel, but this run reads CSV",
}
"""Pattern, in any case of letters → what is written instead."""
ANY_REPLACED = re.compile("|".join(REPLACED), re.IGNORECASE)

COUNTED = "records|customers|requests|calls|runs|rows|files|pages|lines|columns|batches|keys|deletes|locations"
ONE_OF_MANY = re.compile(rf"(?<![\w.,$-])1 (?:{COUNTED})\b")
"""`1 records`, but not `1, 2 records`."""
PLURAL = re.compile(rf" (?:{COUNTED})\b(?!/s)")
"""`calls` after a count, but not the `calls/s` of a rate."""


def tracked(*suffixes: str) -> list[Path]:
    """Return the files of the repository with these suffixes, except this one, which contains all phrases."""
    command = ("git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.rstrip("\0").split("\0")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a checkout", allow_module_level=True)
    found = [ROOT / name for name in listed if Path(name).suffix in suffixes]
    return [path for path in found if path.is_file() and not path.is_symlink() and path != Path(__file__).resolve()]


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and text of each string and comment of a Python file, and of each paragraph of another file."""
    source = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        line = 1
        for paragraph in source.split("\n\n"):
            yield line, " ".join(paragraph.split())
            line += paragraph.count("\n") + 2
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, " ".join(node.value.split())
        elif isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "{}" for part in node.values]
            yield node.lineno, " ".join("".join(map(str, parts)).split())
    # Tokenizing takes ten times as long; a # within a string is a text that is searched anyway.
    for number, line in enumerate(source.splitlines(), 1):
        if "#" in line:
            yield number, line[line.index("#") :]


FILES = tracked(".py", ".md", ".toml")


@pytest.fixture(scope="module")
def read() -> list[tuple[str, str]]:
    """Every text of every file, with its place."""
    return [(f"{path.relative_to(ROOT)}:{line}", text) for path in FILES for line, text in texts(path)]


def test_replaced_sentences_do_not_come_back(read: list[tuple[str, str]]) -> None:
    back = [
        f"{where}: “{found[0]}”. Write instead: {instead}"
        for where, text in read
        if ANY_REPLACED.search(text)
        for pattern, instead in REPLACED.items()
        if (found := re.search(pattern, text, re.IGNORECASE))
    ]
    assert not back, "\n".join(back)


def test_one_of_a_thing_is_singular(read: list[tuple[str, str]]) -> None:
    many = [f"{where}: “{found[0]}”" for where, text in read if (found := ONE_OF_MANY.search(text))]
    assert not many, "\n".join(many)


OURS = [
    path
    for path in FILES
    if path.suffix == ".py"
    and path.relative_to(ROOT).parts[0] in ("schemas", "connectors", "pipelines", "tranship")
    and path.parent.name not in ("sandbox", "data")  # the providers' own messages, and a script
]


def plurals(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and text of counts in front of a fixed plural, which would print `1 records`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for value, text in pairwise(node.values if isinstance(node, ast.JoinedStr) else ()):
            if isinstance(value, ast.FormattedValue) and isinstance(text, ast.Constant):
                noun = PLURAL.match(str(text.value))
                if noun:
                    yield node.lineno, f"{{{ast.unparse(value.value)}}}{noun[0]}"


def test_counts_are_singular_or_plural() -> None:
    found = [f"{path.relative_to(ROOT)}:{line}: “{text}”" for path in OURS for line, text in plurals(path)]
    assert not found, "Use schemas/counted.py:\n" + "\n".join(found)
