"""plan.json of a provider's destination: the plan, written last, with the seals of its other files.

So every process that continues the run carries out the same plan.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from tranship.connectors import durable
from tranship.connectors.api.known_ids import FILE as KNOWN_IDS
from tranship.connectors.contract import Effort, Plan


class _PlanFacts(msgspec.Struct, frozen=True):
    """The fields of `contract.Plan` in plan.json."""

    counts: dict[str, int]
    changed_fields: dict[str, int]
    existing: int
    notes: list[str]
    withheld: int = 0
    unidentified: list[str] = []
    partly: int = 0
    losses: dict[str, str] = {}
    effort: Effort | None = None


class SavedPlan(msgspec.Struct, frozen=True):
    """plan.json: the plan, and the seals of its files (name → seal)."""

    run_id: str
    files: dict[str, str]
    plan: _PlanFacts

    @classmethod
    def read(cls, workspace: Path) -> SavedPlan:
        """Read plan.json. Raises FileNotFoundError, and Damaged if it was changed."""
        file = workspace / "plan.json"
        try:
            return msgspec.convert(durable.read_json(file), cls)
        except msgspec.ValidationError as error:
            raise durable.damaged(file) from error

    def as_plan(self, workspace: Path) -> Plan:
        """Return the plan in the form of the contract."""
        facts = self.plan
        return Plan(
            workspace / "plan.parquet",
            *(facts.counts, facts.changed_fields, facts.existing, tuple(facts.notes)),
            *(facts.withheld, tuple(facts.unidentified), facts.partly),
            losses=facts.losses,
            effort=facts.effort,
        )

    def requests(self, workspace: Path) -> list[Path]:
        """Return the files of its requests, in order."""
        return [workspace / name for name in sorted(self.files) if name.startswith("requests/")]


def save_plan(plan: Plan, run_id: str, workspace: Path) -> None:
    """Seal the files of a plan and write plan.json."""
    requests = sorted((workspace / "requests").glob("*.parquet"))
    names = [f"requests/{file.name}" for file in requests]
    sealed = durable.seals(workspace, [plan.rows.name, "targets.parquet", KNOWN_IDS, *names])
    facts = {name: value for name, value in msgspec.structs.asdict(plan).items() if name != "rows"}
    facts["effort"] = msgspec.to_builtins(plan.effort)
    durable.write_json(workspace / "plan.json", {"run_id": run_id, "files": sealed, "plan": facts})
