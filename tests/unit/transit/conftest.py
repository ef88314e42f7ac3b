"""A mount for each test."""

import pytest

from tests.unit.transit.transit_mount import Mount


@pytest.fixture
def mount() -> Mount:
    return Mount()
