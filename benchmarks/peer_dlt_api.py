"""The peer dlt: its rest_api source, page after page, merged by id into DuckDB.

    python benchmarks/peer_dlt_api.py http://127.0.0.1:8000/v1/ warehouse.duckdb folder-for-its-state [--default]

With `--default` all settings are the defaults: child tables, INSERT statements. Without it, those that made it faster:
the Parquet loader, lists and metadata as JSON. More processes that normalise, or larger buffers, changed nothing.

Runs in a separate environment that contains dlt.
"""

import sys

import dlt
from dlt.sources.helpers.rest_client.paginators import PageNumberPaginator
from dlt.sources.rest_api import rest_api_source

PAGE = 1000


def main(url: str, database: str, state: str, *, default: bool) -> None:
    customers = {
        "name": "customers",
        "primary_key": "id",
        "write_disposition": "merge",
        "endpoint": {
            "path": "customers",
            "params": {"limit": PAGE},
            "data_selector": "data",
            "paginator": PageNumberPaginator(base_page=1, total_path=None, has_more_path="hasMore"),
        },
    }
    source = rest_api_source({"client": {"base_url": url}, "resources": [customers]})
    if not default:
        source.max_table_nesting = 0
    pipeline = dlt.pipeline(
        "customers", pipelines_dir=state, destination=dlt.destinations.duckdb(database), dataset_name="crm"
    )
    pipeline.run(source, loader_file_format=None if default else "parquet").raise_on_failed_jobs()


if __name__ == "__main__":
    main(*sys.argv[1:4], default=sys.argv[4:] == ["--default"])
