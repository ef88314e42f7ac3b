"""Patterns in which an asterisk stands for any text, dots and nothing included: those of Vault's roles."""


class Glob:
    """One pattern. Matching takes time in proportion to the text, however many asterisks there are."""

    __slots__ = ("_first", "_inner", "_is_plain", "_last", "pattern")

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        first, *rest = pattern.split("*")
        self._is_plain = not rest
        self._first = first
        self._last = rest[-1] if rest else ""
        self._inner = [part for part in rest[:-1] if part]

    def matches(self, text: str) -> bool:
        """Whether the pattern stands for all of the text. Letters of another case are other letters."""
        if self._is_plain:
            return text == self._first
        end = len(text) - len(self._last)
        start = len(self._first)
        if start > end or not text.startswith(self._first) or not text.endswith(self._last):
            return False
        for part in self._inner:  # the leftmost place leaves the most room for the others
            found = text.find(part, start, end)
            if found < 0:
                return False
            start = found + len(part)
        return True
