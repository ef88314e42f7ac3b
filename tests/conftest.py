"""For all tests: files that take long begin first, so that no process is left with one of them at the end."""

import pytest

_LONG = (
    "test_openapi_with_schemathesis.py",
    "test_crashes.py",
    "test_documents.py",
    "test_leases_live.py",
    "test_odd_input_everywhere.py",
    "test_listeners_and_restarts.py",
    "test_service_faults.py",
    "test_hsm_faults.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole files only: the order within one stays."""
    places = {name: place for place, name in enumerate(_LONG)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))
