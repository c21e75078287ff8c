"""The texts about codes of rejects and warnings, reasons of destinations, exit codes and errors: for
`tranship explain`, and for the pages of docs/reference/ that docs/reference/build.py writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from tranship.connectors import errors, key_shapes, suggestions
from tranship.pipelines.exit_codes import EXIT_CODES
from tranship.schemas.customer import COLUMNS
from tranship.schemas.explanations import refusals, rejects, warning_codes
from tranship.schemas.explanations.explanation import Explanation
from tranship.schemas.faults import RULES, WARNINGS

CODES_PAGE: Final = "docs/reference/codes.md"
EXIT_CODES_PAGE: Final = "docs/reference/exit-codes.md"
ERRORS_PAGE: Final = "docs/reference/errors.md"

_EXIT_CODES: Final[dict[int, tuple[str, str, str]]] = {
    0: (
        (
            "Every record was loaded, merged, unchanged, skipped, or older than the destination, or the rejects are "
            "within --max-rejects."
        ),
        "Nothing.",
        "",
    ),
    1: (
        (
            "Something happened that Tranship does not expect. The message names a crash report, which contains none"
            " of your data."
        ),
        "Send the report. The state of the run is saved: a new version can continue it.",
        "tranship resume last",
    ),
    2: (
        (
            "The command, the settings or a file cannot be used as given, or this machine has no disk space, "
            "permission or memory left. Nothing was written, or the message says what was."
        ),
        "Correct what the message names, then run the same command again.",
        "tranship inspect customers.csv",
    ),
    3: (
        (
            "The source or the destination is unreachable, locked, denies access, or gives an invalid response. "
            "Temporary errors were retried before."
        ),
        "Try again in a few minutes. For a provider, check key, connection and permissions.",
        "tranship doctor metronome://",
    ),
    4: (
        (
            "The other records were written. Some were rejected or refused, more than --max-rejects allows, or "
            "mirror withheld deletes. An undo or a verify that leaves a difference ends like this, too."
        ),
        "Correct the rejected records and load them with the command that the summary prints, or accept some.",
        "--max-rejects 2%",
    ),
    5: (
        (
            "A limit was exceeded, so nothing was written: --max-rejects, --max-warnings, --max-conflicts, "
            "--max-changes, --max-deletes, an empty source without --allow-empty, or mostly older records without "
            "--older."
        ),
        "Look at the report. If the input is right, raise the limit for this run; otherwise correct the input.",
        "tranship report last",
    ),
    6: (
        "Another run is writing to the destination, and --overlap skip was given. This run did nothing.",
        "Nothing: the other run does the work. With --overlap wait, this one would wait for it.",
        "--overlap wait",
    ),
    130: (
        "Ctrl-C or the system stopped the run. Its state is saved, and requests in flight were completed.",
        "Continue it with the command that was printed.",
        "tranship resume last",
    ),
}

_IDENTIFYING: Final = ("external_id", "email", "name")
_ADVICE: Final = {
    "TranshipError": "Catch it to catch all of the others. Its `report` is that of the run, or None.",
    "ConfigError": "Correct the command, the settings or the file that the message names.",
    "MissingDriver": "Install the package that the message names.",
    "LocalFailure": "Free space, memory or permissions on this machine, then continue the run.",
    "Undecided": "Set what the message asks for. The same run would stop again.",
    "Damaged": "Run the command again from the beginning, or make the plan again.",
    "ConnectorError": "Look at the other side: the message says what it answered.",
    "Unreachable": "Try again later, or release the lock that the message names.",
    "Busy": "Wait for the process that the message names, or allow more time: --lock-timeout 30min.",
    "Interfered": "Nothing: it is retried, and reported only if it fails again.",
    "Refused": "Get the permission that is missing, or change the request.",
    "Malformed": "Report the response to those who run the server.",
    "GateClosed": "Look at the report, then correct the input or raise the limit.",
    "Skipped": "Nothing: another run does the work.",
    "Interrupted": "Continue the run with the command in the message.",
}


ANY_FIELD: Final = "FIELD."
"""How the reference heads a code that several fields have."""


class Page(NamedTuple):
    """The text about one code, and where the documentation has it."""

    code: str
    kind: str
    explanation: Explanation
    link: str


def error_names() -> list[str]:
    """Return the names of all errors, each after the one that it belongs to."""
    return [kind.__name__ for kind in _below(errors.TranshipError)]


def _below(kind: type[errors.TranshipError]) -> Iterator[type[errors.TranshipError]]:
    yield kind
    for sub in kind.__subclasses__():
        if sub.__module__ == errors.__name__:
            yield from _below(sub)


def by_kind() -> dict[str, list[str]]:
    """Return kind → every code that has a text."""
    return {
        "rejects, and values that were left empty": list(RULES),
        "warnings": list(WARNINGS),
        "reasons of destinations": [*refusals.REFUSALS, *refusals.STALE],
        "exit codes": [str(code) for code in EXIT_CODES],
        "errors in Python": error_names(),
    }


def first_with_text(codes: Iterable[str]) -> str | None:
    """Return the first of these codes that has a text, without the details of a reason; those of plug-ins have none."""
    known = {code for listed in by_kind().values() for code in listed}
    return next((name for code in codes if (name := code.partition(":")[0]) in known), None)


def page(code: str) -> Page:
    """Return the text about a code, written as in reports and messages; raises ConfigError with similar codes."""
    code = code.strip()
    name = code.partition(":")[0]
    if code in RULES:
        return _at(code, "a reason for a reject, or for a value that was left empty", rejects.of_reject(code))
    if code in WARNINGS:
        return _at(code, "a warning: the record was loaded", warning_codes.of_warning(code))
    if name in refusals.REFUSALS:
        return _at(name, "the destination has refused the record", refusals.of_refusal(name))
    if name in refusals.STALE:
        return _at(name, "the customer is stale: it was not written", refusals.of_refusal(name))
    if code.isdecimal() and int(code) in EXIT_CODES:
        texts = Explanation(EXIT_CODES[int(code)], *_EXIT_CODES[int(code)])
        return Page(code, "an exit code", texts, f"{EXIT_CODES_PAGE}#{code}")
    for error in error_names():
        if error.lower() == code.rpartition(".")[2].lower():
            return Page(error, "an error in Python", _of_error(error), f"{ERRORS_PAGE}#{error}")
    if code.endswith(".missing") and code.removesuffix(".missing") in COLUMNS:
        return _at(
            code, "the destination has refused the record", _missing(code.removesuffix(".missing")), "FIELD.missing"
        )
    key_shapes.refuse(code, "code")
    known_codes = [known for codes in by_kind().values() for known in codes]
    advice = suggestions.did_you_mean(suggestions.similar(code, known_codes)) or "List them all: tranship explain"
    if code.startswith(ANY_FIELD) and (alike := [known for known in RULES if known.endswith(code[len(ANY_FIELD) :])]):
        advice = f"{ANY_FIELD[:-1]} stands for a field: tranship explain {alike[0]}"
    if of_field := [known for known in (*RULES, *WARNINGS) if known.startswith(f"{code}.")]:
        advice = f"The codes of {code} are {', '.join(of_field)}."
    raise errors.ConfigError(f"{code}: is not a code, reason, exit code or error. {advice}")


def _at(code: str, kind: str, explanation: Explanation, anchor: str | None = None) -> Page:
    return Page(code, kind, explanation, f"{CODES_PAGE}#{anchor or code}")


def _of_error(name: str) -> Explanation:
    kind: type[errors.TranshipError] = getattr(errors, name)
    sentence, _, more = (kind.__doc__ or "").partition("\n\n")
    return Explanation(
        " ".join(sentence.split()),
        " ".join(f"{' '.join(more.split())} The exit code of the command is {kind.exit_code}.".split()),
        _ADVICE[name],
        f"except tranship.{name} as error:\n    print(error)",
    )


def _missing(field: str) -> Explanation:
    return Explanation(
        f"the provider requires {field}, and the record has none",
        "Missing values are never invented.",
        "Fill in the value at the source. A value that is right for all records that have none can be set.",
        "" if field in _IDENTIFYING else f"--default {field}=VALUE",
    )
