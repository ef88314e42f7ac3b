"""A real node for the server tests; `node_harness` says what it is made of."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvloop

sys.path.insert(0, str(Path(__file__).parent))  # test modules are imported by path and share the harness

from node_harness import Node, Start, node_starter


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The workers' own event loop: its transports differ from asyncio's."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
def start_node(tmp_path: Path) -> Iterator[Start]:
    with node_starter(tmp_path) as start:
        yield start


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """One node for all tests that leave it as it was."""
    with node_starter(tmp_path_factory.mktemp("node")) as start:
        yield start(request_timeout=2.0, max_body=1_000_000).wait_ready()
