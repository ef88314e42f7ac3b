"""Finding the path pattern that decides: Vault's priority rules over `*` and `+`, for any number of patterns.

Of the patterns that match the one decides whose first wildcard comes later; then the one without a `*` at its end;
then the one with fewer `+`; then the longer; then the lexicographically larger.

Patterns stand in a tree of their segments, so what a look-up costs depends on the path and on how many patterns
match along it, not on how many there are.
"""

from typing import Generic, TypeVar

T = TypeVar("T")


def is_segmented(pattern: str) -> bool:
    """Whether it counts as one with `+` segments, as Vault tells them apart."""
    return pattern == "+" or "/+" in pattern or pattern.startswith("+/")


def has_wildcard(pattern: str) -> bool:
    """Whether it can match more than the path that it spells."""
    return pattern.endswith("*") or is_segmented(pattern)


class Pattern(Generic[T]):
    """A pattern with wildcards and what it stands for; of those that match one path the greatest `rank` decides."""

    __slots__ = ("is_prefix", "parts", "rank", "value")

    def __init__(self, text: str, value: T) -> None:
        self.value = value
        self.is_prefix = text.endswith("*")
        stem = text.removesuffix("*")
        self.parts = stem.split("/")
        segmented = is_segmented(stem)
        head = stem.index("+") if segmented else len(stem)
        wildcards = self.parts.count("+") if segmented else 0
        raw = stem.encode()
        self.rank = (head, not self.is_prefix, -wildcards, len(raw), raw)

    def reaches(self, folder: list[str]) -> bool:
        """Whether some path below the folder of these segments can match."""
        last = len(self.parts) - 1
        for i, segment in enumerate(folder):
            if self.is_prefix and i == last:
                return segment.startswith(self.parts[i])
            if i >= last or self.parts[i] not in ("+", segment):
                return False
        return True


class _Node(Generic[T]):
    """The patterns that begin with the same segments."""

    __slots__ = ("any", "end", "named", "prefix_lengths", "prefixes")

    def __init__(self) -> None:
        self.named: dict[str, _Node[T]] = {}
        self.any: _Node[T] | None = None  # below a "+"
        self.end: Pattern[T] | None = None
        self.prefixes: dict[str, Pattern[T]] = {}  # those that end here in "…*", by what stands before the "*"
        self.prefix_lengths: tuple[int, ...] = ()  # of `prefixes`, the longest first

    def add(self, pattern: Pattern[T]) -> None:
        node, parts = self, pattern.parts
        for part in parts[:-1] if pattern.is_prefix else parts:
            node = node._below(part)
        if pattern.is_prefix:
            node.prefixes[parts[-1]] = pattern
            node.prefix_lengths = tuple(sorted({len(prefix) for prefix in node.prefixes}, reverse=True))
        else:
            node.end = pattern

    def _below(self, part: str) -> "_Node[T]":
        if part != "+":
            return self.named.setdefault(part, _Node())
        if self.any is None:
            self.any = _Node()
        return self.any


class PatternIndex(Generic[T]):
    """Patterns with wildcards, each text once."""

    __slots__ = ("_root", "patterns")

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()
        self.patterns: list[Pattern[T]] = []

    def add(self, text: str, value: T) -> None:
        """Note what the pattern `text` stands for."""
        pattern = Pattern(text, value)
        self.patterns.append(pattern)
        self._root.add(pattern)

    def find(self, path: str) -> Pattern[T] | None:
        """The pattern that decides over `path`."""
        segments = path.split("/")
        count, best = len(segments), None
        pending = [(self._root, 0)]  # nodes that the segments so far lead to; no recursion, a policy may be deep
        while pending:
            node, depth = pending.pop()
            while depth < count:
                segment = segments[depth]
                for length in node.prefix_lengths:
                    found = node.prefixes.get(segment[:length])
                    if found is not None and length <= len(segment):
                        if best is None or found.rank > best.rank:
                            best = found
                        break
                depth += 1
                if node.any is not None:
                    pending.append((node.any, depth))
                below = node.named.get(segment)
                if below is None:
                    break
                node = below
            else:
                found = node.end
                if found is not None and (best is None or found.rank > best.rank):
                    best = found
        return best
