"""Which route of an engine serves a path: a tree over its segments, built once for each engine."""

import re
from collections.abc import Iterable, Iterator, Mapping

from core.engine import Route

# Answers that are remembered: the paths in use are few and short, what an attacker makes up is neither.
_SEEN_PATHS = 2000
_SEEN_PATH = 128


_SLASHES = re.compile("//+")


def single_slashes(path: str) -> str:
    """With one slash where there are several."""
    return _SLASHES.sub("/", path) if "//" in path else path


def plain_path(path: str) -> str:
    """So, and without slashes at the end: "sys/mounts//kv/" is "sys/mounts/kv"."""
    return single_slashes(path).rstrip("/")


class _Node:
    """One place in the tree. A literal segment goes before a captured one, and that before the rest of the path."""

    __slots__ = ("captured", "literals", "rest", "route")

    def __init__(self) -> None:
        self.literals: dict[str, _Node] = {}
        self.captured: _Node | None = None
        self.rest: Route | None = None
        self.route: Route | None = None


class RouteTable:
    """The routes of one engine, ready to be asked."""

    __slots__ = ("_names", "_root", "_seen")

    def __init__(self, routes: Iterable[Route]) -> None:
        self._root = _Node()
        self._seen: dict[str, tuple[Route, dict[str, str]]] = {}
        self._names: dict[str, tuple[str, ...]] = {}
        for route in routes:
            self._add(route)

    def __iter__(self) -> Iterator[Route]:
        return iter(self._routes(self._root))

    def find(self, path: str) -> tuple[Route, Mapping[str, str]] | None:
        """The route and what its pattern captured; a trailing slash of the path only counts for `{name...}`."""
        found = self._seen.get(path)
        if found is not None:
            return found
        captured: list[str] = []
        route = _descend(self._root, path.removesuffix("/").split("/"), 0, captured, path)
        if route is None:
            return None
        found = route, dict(zip(self._names[route.pattern], captured, strict=True))
        if len(path) <= _SEEN_PATH:
            if len(self._seen) >= _SEEN_PATHS:
                self._seen.clear()
            self._seen[path] = found
        return found

    def _add(self, route: Route) -> None:
        node = self._root
        names: list[str] = []
        segments = route.pattern.removesuffix("/").split("/")
        for position, segment in enumerate(segments):
            if not segment.startswith("{"):
                node = node.literals.setdefault(segment, _Node())
                continue
            name = segment[1:-1].removesuffix("...")
            if not name.isidentifier() or segment[-1] != "}" or name in names:
                raise RuntimeError(f"route {route.pattern}: {segment} is no capture")
            names.append(name)
            if segment.endswith("...}"):
                self._end_with_rest(node, route, last=position == len(segments) - 1)
                break
            node.captured = node.captured or _Node()
            node = node.captured
        else:
            if node.route is not None:
                raise RuntimeError(f"two routes serve {route.pattern}")
            node.route = route
        self._names[route.pattern] = tuple(names)

    @staticmethod
    def _end_with_rest(node: _Node, route: Route, *, last: bool) -> None:
        if node.rest is not None or not last:
            raise RuntimeError(f"route {route.pattern}: what is left can be captured once, at the end")
        node.rest = route

    def _routes(self, node: _Node) -> Iterator[Route]:
        if node.route is not None:
            yield node.route
        for _, child in sorted(node.literals.items()):
            yield from self._routes(child)
        if node.captured is not None:
            yield from self._routes(node.captured)
        if node.rest is not None:
            yield node.rest


def _descend(node: _Node, segments: list[str], at: int, captured: list[str], path: str) -> Route | None:
    """Follow the segments from `at`; a way that ends nowhere is taken back, so that a wider pattern gets its turn."""
    if at == len(segments):
        return node.route
    segment = segments[at]
    child = node.literals.get(segment)
    if child is not None:
        found = _descend(child, segments, at + 1, captured, path)
        if found is not None:
            return found
    if node.captured is not None and segment:
        captured.append(segment)
        found = _descend(node.captured, segments, at + 1, captured, path)
        if found is not None:
            return found
        captured.pop()
    if node.rest is not None:
        captured.append(_rest_of(path, at))
    return node.rest


def _rest_of(path: str, segments: int) -> str:
    """What follows the first `segments` segments, with its trailing slash."""
    return path.split("/", segments)[segments] if segments else path
