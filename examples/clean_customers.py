"""Clean the Parquet files of a folder in a Spark job, and write the results as Parquet beside each other.

    spark-submit clean_customers.py --source s3://lake/in/customers --results s3://lake/clean --work s3://lake/tmp

`emr.sh` and `dataproc.sh` submit it.
"""

from __future__ import annotations

import argparse
import sys

from pyspark.sql import SparkSession

from tranship import TranshipError
from tranship.spark import clean

RESULTS = ("customers", "rejects", "merges", "warnings")


def main() -> None:
    """Read the arguments and clean the records. Ends with 1, and a sentence, where Tranship refuses them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--source", required=True, help="folder of Parquet files")
    parser.add_argument("--results", required=True, help="folder for the results, which are replaced")
    parser.add_argument("--work", required=True, help="folder that all machines can write")
    args = parser.parse_args()
    session = SparkSession.builder.appName("tranship").getOrCreate()
    records = session.read.parquet(args.source)
    # The place of each record: it appears in all results.
    records = records.select("*", "_metadata.file_path", "_metadata.row_index")
    try:
        cleaned = clean(records, work=args.work, place=("file_path", "row_index"))
    except TranshipError as error:
        sys.exit(str(error))
    for note in cleaned.notes:
        print(note)
    print(cleaned.counts)
    for name in RESULTS:
        getattr(cleaned, name).write.mode("overwrite").parquet(f"{args.results.rstrip('/')}/{name}")
    print(f"Tables between the steps, to be removed: {cleaned.folder}")


if __name__ == "__main__":
    main()
