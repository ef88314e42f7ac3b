"""What a policy says once it is parsed: path rules, as they are stored and as access lists are built from them."""

from typing import Any

import msgspec

CAPABILITIES = frozenset({"create", "read", "update", "patch", "delete", "list", "scan", "sudo", "deny"})


class PathRule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One `path` block. `path` is as written, without a leading slash; `line` is 0 in JSON policies."""

    path: str
    capabilities: tuple[str, ...]  # sorted; only "deny" where it was among them
    line: int = 0
    allowed_parameters: dict[str, list[Any]] | None = None  # lower-case name to values; no values: any value
    denied_parameters: dict[str, list[Any]] | None = None
    required_parameters: tuple[str, ...] = ()
    min_wrapping_ttl: int = 0  # seconds
    max_wrapping_ttl: int = 0


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """A named policy: its text byte for byte, and what was made of it when it was written."""

    name: str
    text: str
    rules: tuple[PathRule, ...]
    version: int = 0  # 1 at its first write, one more at each
