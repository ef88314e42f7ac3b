"""Which databases this installation knows: the entry points of the group `mimir.database_plugins`."""

from functools import cache
from importlib.metadata import EntryPoint, entry_points

from core.errors import ConfigError, InvalidRequestError
from dynamic.target import Plugin

GROUP = "mimir.database_plugins"


@cache
def _points() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def plugin_names() -> list[str]:
    """Every `plugin_name`, sorted."""
    return sorted(_points())


def check_plugin(name: str) -> None:
    """Raise InvalidRequestError for a name that no connection can have."""
    if not name:
        raise InvalidRequestError(f"empty plugin name: plugin_name is one of {', '.join(plugin_names())}")
    if name not in _points():
        raise InvalidRequestError(
            f"there is no plugin {name[:64]!r}: plugin_name is one of {', '.join(plugin_names())}"
        )


@cache
def plugin_of(name: str) -> Plugin:
    """Import the plugin; its driver comes with it, and not before. Raises ConfigError when it is not installed here."""
    point = _points().get(name)
    if point is None:
        raise ConfigError(f"the database plugin {name} is configured but not installed on this node")
    try:
        plugin = point.load()
    except (ImportError, AttributeError) as exc:
        raise ConfigError(f"the database plugin {name} cannot be imported on this node") from exc
    if not isinstance(plugin, Plugin):
        raise ConfigError(f"the entry point of the database plugin {name} is no dynamic.target.Plugin")
    return plugin
