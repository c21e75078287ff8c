"""Clean customer records on Spark: the same answer as `tranship.run`, from the same rules, on many machines.

    from tranship.spark import clean

    cleaned = clean(spark.read.parquet("s3://in/customers"), work="s3://in/tmp")
    cleaned.customers.write.saveAsTable("customers")

Anything that supports Spark Connect works: Apache Spark, its managed services, Sail. Tranship must be installed on all
machines of the cluster. Importing this module needs no Spark.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Unpack

    from pyspark.sql import DataFrame

    from tranship.pipelines.arguments import Address, CleanOptions
    from tranship.pipelines.distributed.cleaned import Cleaned

__all__ = ["clean"]


def clean(
    df: DataFrame, *, work: Address, place: tuple[str, str] | None = None, **options: Unpack[CleanOptions]
) -> Cleaned:
    """Clean the records of a DataFrame, within its session: map, normalise, validate, and find those of one customer.

    `work` is a folder that all machines can write, such as one in a bucket; tables of the result are in a new folder
    there, and stay until you remove it. `place` names two columns that say where each record came from, such as file
    and line: they appear in all results, and of records that nothing else sets apart the last one in their order
    survives. Without `place`, a digest of the row stands for both. The options are those settings of `tranship.run`
    that concern columns, values and identity; like there, one that is not given is read from the environment.

    Raises ConfigError for arguments that cannot be used and columns that leave open what is meant, and GateClosed if
    more records than `max_conflicts` share an id with another customer.
    """
    from tranship.pipelines.distributed import cleaning

    return cleaning.clean(df, work, place, options, os.environ)
