"""DataFrames of pandas as Arrow. pandas is imported only by the user who gives a DataFrame."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from tranship.connectors.files.dicts import value_text


def table_of(frame: Any) -> tuple[pa.Table, tuple[str, ...]]:
    """Return a DataFrame as a table, with notes for people.

    NaN, NaT and NA are null. Objects keep their type if all have the same one, else they become text. An index with a
    name becomes a column; names of columns become text, those of several levels joined with a dot.
    """
    index, notes = _index(frame.index)
    names = [*index, *(_name(label) for label in frame.columns)]
    columns = [*index.values(), *(frame.iloc[:, at] for at in range(frame.shape[1]))]
    return pa.Table.from_arrays([_column(column) for column in columns], names), notes


def _index(index: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the levels of an index that become columns, and a note on them. The default numbering of rows is
    omitted."""
    levels = [(index.names[at], index.get_level_values(at)) for at in range(index.nlevels)]
    named = {_name(name): level for name, level in levels if name is not None}
    if type(index).__name__ == "RangeIndex":
        return {}, ()
    notes = []
    if named:
        notes.append(f"the index is read as {'a column' if len(named) == 1 else 'columns'}: {', '.join(named)}")
    if len(named) < len(levels):
        notes.append("the index has no name and is not read; if it has data, give it one or use reset_index()")
    return named, tuple(notes)


def _name(label: Any) -> str:
    parts = label if isinstance(label, tuple) else (label,)
    return ".".join(str(part) for part in parts if part != "")


def _column(values: Any) -> pa.Array:
    """Return a column, in Arrow's type if it has one."""
    kind = str(values.dtype)
    if kind.startswith(("period", "interval", "complex")):
        values = values.astype(str).where(values.notna(), None)
    elif kind.startswith("Sparse"):
        values = values.sparse.to_dense()
    try:
        found = pa.array(values, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        found = pa.array([value_text(value) for value in values], pa.large_string())
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found
