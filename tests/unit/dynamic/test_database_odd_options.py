"""Options of a connection that no plugin can use are refused when it is written, whatever their type."""

from typing import Any

import pytest

from core.errors import InvalidRequestError
from dynamic.plugins import plugin_of
from dynamic.target import ConnectionDetails

URLS = {
    "postgresql": "postgresql://{{username}}:{{password}}@127.0.0.1/db",
    "mysql": "{{username}}:{{password}}@tcp(127.0.0.1:3306)/",
    "mongodb": "mongodb://{{username}}:{{password}}@127.0.0.1/?tls=true",
    "redis": "rediss://127.0.0.1",
}


@pytest.mark.parametrize(
    ("plugin", "option", "value"),
    [
        *((plugin, "tls_ca", "é") for plugin in URLS),
        ("postgresql", "password_authentication", ["scram-sha-256"]),
        *((plugin, "max_open_connections", float("inf")) for plugin in URLS),
    ],
    ids=lambda value: str(value).encode("ascii", "backslashreplace").decode(),
)
def test_it_is_refused(plugin: str, option: str, value: Any) -> None:
    options = {"connection_url": URLS[plugin], "host": "127.0.0.1", "port": 6379, "tls": True, option: value}
    details = ConnectionDetails(name="db", username="root", password="secret-word", options=options)
    with pytest.raises(InvalidRequestError) as caught:
        plugin_of(plugin).open(details)
    assert "secret-word" not in caught.value.sentence
