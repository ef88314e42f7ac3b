"""Text from elsewhere, made safe for a terminal."""


def printable(text: str) -> str:
    """The text with control characters as visible escapes, so that no answer can drive the user's terminal."""
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
