"""How long a token lives: Vault's rules for ttl, period and explicit_max_ttl, on whole seconds."""

from dataclasses import dataclass

SYSTEM_DEFAULT_TTL = 2764800  # 768 h
SYSTEM_MAX_TTL = 2764800


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetime:
    """What bounds a token's life; 0 stands for "not set"."""

    issue_time: int  # epoch
    period: int = 0
    explicit_max_ttl: int = 0
    default_ttl: int = SYSTEM_DEFAULT_TTL
    max_ttl: int = SYSTEM_MAX_TTL


def granted_ttl(life: Lifetime, *, wanted: int, now: int) -> int:
    """Seconds from `now` that a token gets which asks for `wanted`; 0 or less when its time is over.

    A period replaces what is wanted and has no end but explicit_max_ttl. Otherwise the end is at issue_time plus the
    lesser of max_ttl and explicit_max_ttl.
    """
    if life.period:
        ttl, end = min(life.period, life.max_ttl), 0
    else:
        ttl, end = wanted or life.default_ttl, life.issue_time + life.max_ttl
    if life.explicit_max_ttl:
        explicit_end = life.issue_time + life.explicit_max_ttl
        end = min(end, explicit_end) if end else explicit_end
    return min(ttl, end - now) if end else ttl


def lesser(first: int, second: int) -> int:
    """The lesser of two limits, where 0 stands for "none"."""
    return min(first, second) if first and second else first or second
