"""What a policy says once it is parsed: path rules, as they are stored and as access lists are built from them."""

from typing import Any

import msgspec

CAPABILITIES = frozenset({"create", "read", "update", "patch", "delete", "list", "scan", "sudo", "subscribe", "deny"})
DAY_MINUTES = 24 * 60


class TimeWindow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Some hours of some days, by the wall clock of a timezone; `start` belongs to it, `end` does not.

    One that ends before it starts goes over midnight, and belongs to the day on which it starts.
    """

    days: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6)  # sorted; Monday is 0
    start: int = 0  # minutes since midnight
    end: int = DAY_MINUTES
    timezone: str = "UTC"


class Conditions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Mimir's own conditions of a path block: all that are given must hold for the block to grant anything."""

    source_cidrs: tuple[str, ...] = ()  # canonical; one of them holds the client's address
    time_windows: tuple[TimeWindow, ...] = ()  # the time lies in one of them
    environment: tuple[str, ...] = ()  # the entity's metadata "environment" is one of them
    require_reason: bool = False  # the request says why it is made, in a header


class PathRule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One `path` block. `path` is as written, without a leading slash; `line` is 0 in JSON policies.

    What a later version stored and this one does not know is not passed over, since it may limit what is granted.
    """

    path: str
    capabilities: tuple[str, ...]  # sorted; only "deny" where it was among them
    line: int = 0
    allowed_parameters: dict[str, list[Any]] | None = None  # lower-case name to values; no values: any value
    denied_parameters: dict[str, list[Any]] | None = None
    required_parameters: tuple[str, ...] = ()  # lower-case
    min_wrapping_ttl: int = 0  # seconds
    max_wrapping_ttl: int = 0
    subscribe_event_types: tuple[str, ...] = ()  # patterns ("kv-v2/data-*"); none: any, for who may subscribe
    conditions: Conditions | None = None
    expires_at: float | None = None  # epoch seconds; from then on the rule counts for nothing


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """A named policy: its text byte for byte, and what was made of it when it was written."""

    name: str
    text: str
    rules: tuple[PathRule, ...]
    version: int = 0  # 1 at its first write, one more at each
    expires_at: float | None = None  # epoch seconds; from then on the policy counts for nothing
