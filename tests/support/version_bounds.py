"""The lowest versions that pyproject.toml allows, as constraints for pip: `make lowest`.

python tests/support/version_bounds.py > constraints.txt
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent.parent
EXTRAS = ("cloud", "postgres", "notify", "otel")
"""Those that users install for Tranship itself; the other ones name a scheduler, an engine or tools of developers."""


def requirements() -> list[Requirement]:
    """Return what Tranship needs, and what its own extras need."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    return [Requirement(text) for texts in (project["dependencies"], *map(extras.get, EXTRAS)) for text in texts]


def lowest() -> dict[str, str]:
    """Return the lowest version of each package. Raises ValueError for one without a lower bound."""
    return {requirement.name: _lower_bound(requirement) for requirement in requirements()}


def _lower_bound(requirement: Requirement) -> str:
    bounds = [specifier.version for specifier in requirement.specifier if specifier.operator == ">="]
    if len(bounds) != 1:
        raise ValueError(f"{requirement}: give it one lower bound, so that the lowest version can be tested")
    return bounds[0]


if __name__ == "__main__":
    print("\n".join(f"{name}=={version}" for name, version in lowest().items()))
