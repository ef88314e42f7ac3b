"""Patterns in which an asterisk stands for any text, dots and nothing included: those of Vault's roles."""

import re


def glob(pattern: str, *, ignores_case: bool = False) -> re.Pattern[str]:
    """To be used with fullmatch."""
    parts = (re.escape(part) for part in pattern.split("*"))
    return re.compile(".*".join(parts), re.DOTALL | (re.IGNORECASE if ignores_case else 0))
