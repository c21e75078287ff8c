"""Every file that Tranship keeps in a state directory: the one list that prune and erase work from.

A contract test compares it with what real runs leave behind. A new file of a run needs a line here.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final, Literal

from msgspec import Struct

Keeps = Literal["records", "counts", "page", "lock"]
"""records: values of customers. counts: numbers, names of columns, settings, places of records. page: made from the
other files, and may show values. lock: nothing."""


class Artefact(Struct, frozen=True):
    """A kind of file. `name` is relative to the folder of a run or, in `STATE`, to the state directory: * stands for
    characters other than /, ** for any."""

    name: str
    keeps: Keeps
    purpose: str


_PAGES: Final = "responses of a provider as received, from which an interrupted read continues"
_ACCOUNT: Final = "the customers of the account, or the comparison with them"

RUN: Final = (
    Artefact("manifest.json", "counts", "settings without secrets, steps, seals of the files"),
    Artefact("lock", "lock", "marks the process that works on the run"),
    Artefact("open.lock", "lock", "marks the process for which the files are decrypted"),
    Artefact("**.age", "records", "a file that is encrypted"),
    Artefact("parts.json", "records", "counts, digest and seals of each part of the source"),
    Artefact("report.json", "counts", "the report"),
    Artefact("report.html", "page", "the report as a page"),
    Artefact("plan.html", "page", "a plan as a page"),
    Artefact("migration.html", "page", "a migration as a page"),
    Artefact("verification.json", "counts", "counts of a comparison with the destination"),
    Artefact("traffic.json", "counts", "calls to a provider over time"),
    Artefact("undo.json", "records", "how the values that the run replaced are stored"),
    Artefact("plan.json", "records", "counts and seals of the requests to a provider"),
    Artefact("stage/*.parquet", "records", "the canonical records"),
    Artefact("raw/*.parquet", "records", "records in the spelling of the source, while they may still be rejected"),
    Artefact("rejected/*.parquet", "records", "rejects, batch by batch"),
    Artefact("warned/*.parquet", "records", "warnings, batch by batch"),
    Artefact(
        "present/*.parquet", "records", "keys of records that are not loaded, so that mirror does not delete them"
    ),
    Artefact("late/*.parquet", "records", "records that an incremental run would have missed"),
    Artefact("sample/*.parquet", "records", "the first records of the source, for the report"),
    Artefact("identity/**", "records", "which records are one customer"),
    Artefact("spill/**", "records", "temporary files of one step"),
    Artefact("pages/**", "records", _PAGES),
    Artefact("destination/**", "records", _PAGES),
    Artefact("destination.duckdb*", "records", "the customers of the account, to compare with"),
    Artefact("held.duckdb*", "records", "the records of the destination file, to compare with"),
    Artefact("requests/*.parquet", "records", "the requests to a provider"),
    Artefact("targets.parquet", "records", _ACCOUNT),
    Artefact("account_ids.parquet", "records", _ACCOUNT),
    Artefact("found.parquet", "records", _ACCOUNT),
    Artefact("gone.parquet", "records", _ACCOUNT),
    Artefact("extra.parquet", "records", _ACCOUNT),
    Artefact("plan.parquet", "records", "what is planned for each record"),
    Artefact("agreed*.parquet", "records", "the plan as it was approved"),
    Artefact("changes.csv", "records", "the changes of a plan, for review"),
    Artefact("journal.sqlite*", "records", "each request to a provider, and its outcome"),
    Artefact("journal.reached", "counts", "how far the journal was written"),
    Artefact("sent.parquet", "records", "outcomes at a provider"),
    Artefact("outcomes.parquet", "records", "outcomes at a provider"),
    Artefact("crosswalk.*", "records", "ids of the source and of the destination"),
    Artefact("successful.csv", "records", "records written to a provider"),
    Artefact("again/*.csv", "records", "records that failed or were not begun at a provider"),
    Artefact("stale.*", "records", "records older than those of the destination"),
    Artefact("written.parquet", "records", "times of the records that earlier runs wrote"),
    Artefact("batches.parquet", "records", "requests with several customers"),
    Artefact("rejects.*", "records", "rejected records, with all reasons"),
    Artefact("to_fix.parquet", "records", "rejects as they are given out to be corrected"),
    Artefact("fixed.parquet", "records", "corrected rejects, with the rows that they were"),
    Artefact("warnings.parquet", "records", "warnings"),
    Artefact("merges.parquet", "records", "places of records that were merged"),
    Artefact("left.*", "records", "customers that an undo left as they are"),
    Artefact("review.parquet", "records", "what an undo would do, for review"),
    Artefact("before.parquet", "records", "values that the run replaced"),
    Artefact("restored.parquet", "records", "values that an undo restores"),
    Artefact("undone.parquet", "records", "customers that an undo takes back"),
    Artefact("keys.parquet", "records", "customers chosen for an undo"),
    Artefact("differences.csv", "records", "differences that verify found"),
    Artefact("verify/**", "records", "files of a comparison with the destination"),
    Artefact("work/**", "records", "tables between the steps of a run on an engine"),
    Artefact("taken/**", "records", "records of an engine, on their way into Postgres"),
    Artefact("*-damaged**", "records", "damaged files that were moved aside"),
    Artefact("**.partial", "records", "a file that was not written to its end"),
)
"""In the folder of a run or plan."""

STATE: Final = (
    Artefact(".gitignore", "lock", "keeps the state directory out of repositories"),
    Artefact("locks/*", "lock", "marks the process that writes to a destination"),
    Artefact("written/*", "counts", "size and time of each file that Tranship wrote"),
    Artefact("pipelines/*", "counts", "the state of each pipeline, for alerts"),
    Artefact("watermarks/*", "counts", "how far sources were read"),
    Artefact("backfills/*", "counts", "how far a backfill has come"),
    Artefact("open_plans/*", "counts", "where plans are that depend on a run"),
    Artefact("frames/*", "records", "records that were given in Python, until they are read"),
    Artefact("erasing.json", "counts", "an erasure that was interrupted"),
    Artefact("erased.json", "counts", "receipts of erasures"),
    Artefact("crash-*.txt", "counts", "a crash report, without values"),
    Artefact("downloads/**", "records", "downloads, until they are read"),
    Artefact("applied/*/plan.json", "counts", "which plan or removed run a crosswalk is from"),
    Artefact("applied/*/crosswalk.*", "records", "crosswalks of applied plans and of removed runs"),
    Artefact("removed/**", "records", "runs whose removal was interrupted"),
)
"""In the state directory, beside the folders of runs and plans."""


def of_run(name: str) -> Artefact | None:
    """Return the kind of a file in the folder of a run, null if there is none of this name."""
    return next((artefact for artefact in RUN if _pattern(artefact.name).fullmatch(name)), None)


def of_state(name: str) -> Artefact | None:
    """Return the kind of a file of the state directory that belongs to no run."""
    return next((artefact for artefact in STATE if _pattern(artefact.name).fullmatch(name)), None)


@cache
def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(re.escape(name).replace(r"\*\*", ".*").replace(r"\*", "[^/]*"))
