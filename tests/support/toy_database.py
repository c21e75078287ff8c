"""A database of another package: tables in a file, `toydb:///folder/file.toydb?table=name`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from tranship.connectors.contract import Abilities, ArrowPart, Connector, Layout


@dataclass(frozen=True)
class ToyOptions:
    """The options of the toy database."""

    rows: int = 3
    loud: bool = False


CONNECTOR = Connector(
    "toydb",
    "Toy tables",
    "toydb:///toys.toydb?table=customers",
    Abilities(writes=False),
    schemes=("toydb",),
    source=f"{__name__}:ToySource",
    options=f"{__name__}:ToyOptions",
    identity=f"{__name__}:identity",
    file=f"{__name__}:file",
    table_files=(".toydb",),
)


def file(address: str) -> Path:
    return Path(address.removeprefix("toydb:///").partition("?")[0])


def identity(address: str) -> str:
    return f"toydb {file(address).resolve()} {address.rpartition('table=')[2].lower() or 'customers'}"


class ToySource:
    """A source of this number of customers, numbered."""

    def __init__(self, address: str, options: ToyOptions) -> None:
        self._name = address
        names = [f"n{number}" for number in range(1, options.rows + 1)]
        self._frame = pl.DataFrame(
            {
                "external_id": [*map(str, range(1, options.rows + 1))],
                "name": [n.upper() if options.loud else n for n in names],
            }
        )
        self.size = options.rows

    def layouts(self) -> list[Layout]:
        return [Layout(self._name, tuple(self._frame.columns))]

    def fingerprint(self) -> list[dict[str, Any]]:
        return [{"name": self._name, "size": self.size}]

    def parts(self, _keep: Path) -> Any:
        [batch] = self._frame.to_arrow().to_batches()
        yield ArrowPart(self._name, batch, 1, batch.num_rows)

    def close(self) -> None:
        pass
