"""An engine for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from support import engines

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    if engines.ENGINE is None:
        pytest.skip("in a separate process: TRANSHIP_ENGINE=sail, as in make test")
    with engines.session() as session:
        yield session
