"""A database of either kind with our tables, served by processes that the tests treat badly."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.followers.following import Place


@pytest.fixture
def place(migrated_url: str, tmp_path: Path) -> Iterator[Place]:
    """A shop with the example notice; `place.serve()` starts a service process on its database."""
    place = Place(migrated_url, tmp_path)
    yield place
    place.close()
