"""How near a key version is to the most that it may encrypt, and what follows. Nothing here does I/O.

What counts is what workers reserved, used or not: so the limit cannot be passed, and all that follows is early.
"""

# Of the limit. A quarter of 2^32 is 30 hours of 10,000 encryptions a second: time to act for whoever must.
WARN_PERCENT = 75
# What is left then serves the requests under way while the new version is made: three blocks of the largest size.
ROTATE_PERCENT = 90
_BLOCKS = 32  # at least, in a limit

FIRST_BLOCK = 1024
LARGEST_BLOCK = 65536


def block_size(wanted: int, *, limit: int) -> int:
    """Encryptions to reserve at once, when `wanted` would be best; few under a low limit. `limit` 0: none."""
    return min(wanted, max(1, limit // _BLOCKS)) if limit else wanted


def is_near(reserved: int, limit: int) -> bool:
    """Whether to warn."""
    return limit > 0 and reserved * 100 >= limit * WARN_PERCENT


def is_due(reserved: int, limit: int) -> bool:
    """Whether to rotate."""
    return limit > 0 and reserved * 100 >= limit * ROTATE_PERCENT


def warning(name: str, version: int, *, reserved: int, limit: int, is_latest: bool, can_rotate: bool) -> str:
    """The sentence for callers and the audit record."""
    if not is_latest:
        what_next = "newer versions encrypt unless a request asks for this one"
    elif can_rotate:
        what_next = f"it rotates by itself at {ROTATE_PERCENT} %"
    else:
        what_next = "it cannot rotate by itself, since it was imported without allow_rotation: import a new version"
    percent = min(100, reserved * 100 // limit)
    return f"key {name} version {version} has used {percent} % of the {limit} encryptions allowed to it; {what_next}"
