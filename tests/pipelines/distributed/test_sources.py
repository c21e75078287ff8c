"""What a run on an engine knows of its sources before the tasks read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tranship.connectors.task_files import TaskFile

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

LARGE = 500_000_000


@pytest.mark.parametrize(
    ("sizes", "note"),
    [
        ((LARGE, 9), ("0.csv: has 100% of the bytes, and one task reads it. Several files are quicker.",)),
        ((LARGE, LARGE * 3), ("1.csv: has 75% of the bytes, and one task reads it. Several files are quicker.",)),
        ((LARGE * 9, LARGE * 9), ()),
        ((LARGE - 1, 9), ()),
        ((0,), ()),
    ],
)
@pytest.mark.usefixtures("spark")
def test_a_large_file_with_most_of_the_bytes_is_named(sizes: tuple[int, ...], note: tuple[str, ...]) -> None:
    from tranship.pipelines.distributed.sources import FileSource

    opened: Any = None
    files = [TaskFile("csv", f"{at}.csv", f"/{at}.csv", size, None, "", {}) for at, size in enumerate(sizes)]
    assert FileSource(opened, files, {}).notes == note


def test_each_file_has_a_task_of_its_own(spark: SparkSession) -> None:
    from pyspark.sql import functions as fn

    from tranship.pipelines.distributed.sources import numbers

    tasks = numbers(spark, 40).select("id", fn.spark_partition_id()).collect()
    assert sorted(at for at, _ in tasks) == [*range(40)]
    assert len({task for _, task in tasks}) == 40
