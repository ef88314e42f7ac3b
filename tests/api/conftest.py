"""One live appliance a test module (a tenth of a second a test), and a fresh one for tests that break it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.appliance import Appliance, ProductionAppliance
from tests.support.postgres import ThrowAwayPostgres, postgres

__all__ = ["postgres"]  # a fixture


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A module whose subject is not the store names the one that it runs on (`STORE`)."""
    others = [item for item in items if _is_of_another_store(item)]
    items[:] = [item for item in items if not _is_of_another_store(item)]
    config.hook.pytest_deselected(items=others)


def _is_of_another_store(item: pytest.Item) -> bool:
    wanted = getattr(getattr(item, "module", None), "STORE", "")
    params = getattr(getattr(item, "callspec", None), "params", {})
    return bool(wanted) and params.get("appliance", wanted) != wanted


@pytest.fixture(scope="module", params=["development-sqlite", "production-postgresql"])
def appliance(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """Two workers, initialised, unsealed, audit on, transit mounted."""
    data_dir = tmp_path_factory.mktemp("appliance") / "data"
    if request.param == "development-sqlite":
        server = Appliance(data_dir).start()
    else:
        database: ThrowAwayPostgres = request.getfixturevalue("postgres")
        server = ProductionAppliance(data_dir, store_url=database.url(database.create_database())).start()
    client = server.client()
    client.sys.enable_audit_device("file", path="file", options={"file_path": str(server.data_dir / "audit.log")})
    client.sys.enable_secrets_engine("transit")
    yield server
    assert server.stop() == 0


@pytest.fixture
def make_appliance(tmp_path: Path) -> Iterator[Callable[..., Appliance]]:
    """A maker of appliances that the test may break; whatever it leaves is killed."""
    made: list[Appliance] = []
    numbers = itertools.count()

    def make(**settings: object) -> Appliance:
        settings.setdefault("data_dir", tmp_path / f"data{next(numbers)}")
        made.append(Appliance(**settings))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for server in made:
        server.kill()
