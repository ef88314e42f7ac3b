"""`*` in the names of `allowed_roles`, as Vault reads it."""


def matches(pattern: str, name: str) -> bool:
    """Whether `pattern` stands for `name`; each `*` in it for any characters, none included."""
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == name
    *middle, last = rest
    if not name.startswith(first) or not name.endswith(last) or len(name) < len(first) + len(last):
        return False
    place, end = len(first), len(name) - len(last)
    for part in middle:
        place = name.find(part, place, end)
        if place < 0:
            return False
        place += len(part)
    return True
