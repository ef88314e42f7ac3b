"""Rate-limit quotas: how many requests one client address may make in an interval, whichever workers it meets.

Counts are kept in fixed windows, as Vault's are, in memory that all workers map (`appliance.lanes`): each adds in its
own lane and reads the sum of all. So a client can get at most one request for each further worker above its rate, when
all of them decide in the same microsecond. A lane has room for 16,384 counts in sets of four; a flood of addresses
replaces the lowest counts first, so the memory is fixed and whoever is over the limit stays over it. An IPv6 client is
its /64, which is what one household or one host is given.
"""

import os
import time
from collections.abc import Callable
from email.utils import formatdate
from hashlib import blake2b
from ipaddress import IPv6Address, ip_address
from math import ceil

import msgspec

from appliance.access.token_hash import without_tokens
from appliance.lanes import Lanes
from appliance.router import single_slashes
from appliance.settings import QuotaConfig, RateLimit, Settings
from core.errors import QuotaExceededError

_SETS = 4096
_WAYS = 4
_TAG, _COUNT, _BLOCKED, _ENTRY = 0, 1, 2, 3  # words of an entry: whose, window and count, blocked until (ms)
_SET = _WAYS * _ENTRY
LANE_WORDS = _SETS * _SET
_HASH_KEY = 8  # where the head of the file holds the key of the hash: four words
_COUNT_MASK = 0xFFFF_FFFF
_WINDOW_MASK = 0x7FFF_FFFF
_CLIENTS = 8192  # places that are remembered


class Standing(msgspec.Struct, frozen=True):
    """Where a client stands with the quota that decided."""

    limit: int
    remaining: int
    reset: float  # seconds until the window ends

    def headers(self, now: float) -> tuple[tuple[str, str], ...]:
        """Vault's three; `now` is the wall-clock time."""
        return (
            ("X-Ratelimit-Limit", str(self.limit)),
            ("X-Ratelimit-Remaining", str(self.remaining)),
            ("X-Ratelimit-Reset", formatdate(now + self.reset, usegmt=True)),
        )


class RateLimitedError(QuotaExceededError):
    """The quota `name` refuses. `standing` is what the response headers are made of."""

    def __init__(self, sentence: str, *, name: str, standing: Standing) -> None:
        super().__init__(sentence, retry_after=max(1, ceil(standing.reset)))
        self.name = name
        self.standing = standing


class Counts:
    """How often each client came in the present window of each quota, on this node."""

    def __init__(self, lanes: Lanes, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """`monotonic` is the machine's clock since boot: the same for every process, and it never steps back."""
        self._lanes = lanes
        self._words = lanes.words
        self._own = lanes.own
        self._monotonic = monotonic
        with lanes.alone():
            self._key = _hash_key(lanes.words)
        self._places: dict[tuple[str, str], tuple[int, int]] = {}

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "Counts":
        """Map the node's file and take a lane in it. Raises ConfigError."""
        return cls(Lanes.open(path, lane_words=LANE_WORDS))

    def close(self) -> None:
        """Give the lane back."""
        self._words = memoryview(b"").cast("Q")
        self._lanes.close()

    def take(self, quota: RateLimit, client: str) -> tuple[bool, Standing]:
        """Count one request, unless the client is over its rate or blocked: then False."""
        now = self._monotonic()
        tag, offset = self._place(quota, client)
        window = int(now / quota.interval) & _WINDOW_MASK
        limit = max(1, round(quota.rate))
        used, blocked, mine = self._look(tag, offset, window)
        reset = quota.interval - now % quota.interval
        if blocked > now * 1000:
            return False, Standing(limit, 0, blocked / 1000 - now)
        if used >= limit:
            if quota.block_interval:
                self._block(tag, self._room(mine, offset, window), now + quota.block_interval)
                reset = float(quota.block_interval)
            return False, Standing(limit, 0, reset)
        self._count(tag, self._room(mine, offset, window), window)
        return True, Standing(limit, limit - used - 1, reset)

    def _look(self, tag: int, offset: int, window: int) -> tuple[int, int, int]:
        """Requests in this window, until when blocked (ms), and where the own entry is (-1: nowhere)."""
        words, own = self._words, self._own
        used = blocked = 0
        mine = -1
        for start in self._lanes.starts():
            for at in range(start + offset, start + offset + _SET, _ENTRY):
                if words[at] == tag:
                    count = words[at + _COUNT]
                    if count >> 32 == window:
                        used += count & _COUNT_MASK
                    blocked = max(blocked, words[at + _BLOCKED])
                    if start == own:
                        mine = at
                    break
        return used, blocked, mine

    def _room(self, mine: int, offset: int, window: int) -> int:
        """The own entry; a new one replaces what counts least: another window's first, then the lowest count."""
        if mine >= 0:
            return mine
        words, start = self._words, self._own + offset
        now = self._monotonic() * 1000

        def weight(at: int) -> tuple[bool, bool, int]:
            count = words[at + _COUNT]
            return words[at + _BLOCKED] > now, count >> 32 == window, count & _COUNT_MASK

        return min(range(start, start + _SET, _ENTRY), key=weight)

    def _count(self, tag: int, at: int, window: int) -> None:
        words = self._words
        count = words[at + _COUNT]
        if words[at] != tag:
            self._claim(tag, at)
            count = 0
        words[at + _COUNT] = count + 1 if count >> 32 == window else window << 32 | 1

    def _block(self, tag: int, at: int, until: float) -> None:
        if self._words[at] != tag:
            self._claim(tag, at)
        self._words[at + _BLOCKED] = int(until * 1000)

    def _claim(self, tag: int, at: int) -> None:
        """Empty first and named last: another process never reads the former owner's count under the new name."""
        self._words[at] = 0
        self._words[at + _COUNT] = 0
        self._words[at + _BLOCKED] = 0
        self._words[at] = tag

    def _place(self, quota: RateLimit, client: str) -> tuple[int, int]:
        """The tag of the pair and the offset of its set in a lane. The key keeps others from choosing collisions."""
        known = self._places.get((quota.name, client))
        if known is not None:
            return known
        digest = blake2b(f"{quota.name}\0{client}".encode(), digest_size=16, key=self._key).digest()
        tag = int.from_bytes(digest[:8], "little") | 1
        place = tag, int.from_bytes(digest[8:], "little") % _SETS * _SET
        if len(self._places) >= _CLIENTS:
            self._places.clear()
        self._places[quota.name, client] = place
        return place


class Quotas:
    """The quotas in force, and the one check that a request makes.

    `active` is False while none is configured: then there is nothing to ask.
    """

    def __init__(self, counts: Counts | None) -> None:
        """Without `counts` (a process that serves nobody) nothing is ever refused."""
        self._counts = counts
        self._table = _Table({})
        self._config = QuotaConfig()
        self._exempt: frozenset[str] = frozenset()
        self._exempt_below: tuple[str, ...] = ()
        self.active = False

    def close(self) -> None:
        """Give the lane back."""
        if self._counts is not None:
            self._counts.close()

    def apply(self, settings: Settings) -> None:
        """For `SystemSettings.watch`."""
        self._table = _Table(settings.quotas)
        self._config = config = settings.quota_config
        self._exempt = frozenset(config.exempt_paths)
        self._exempt_below = tuple(path[:-1] for path in config.exempt_paths if path.endswith("*"))
        self.active = bool(settings.quotas) and self._counts is not None

    @property
    def audits(self) -> bool:
        """Whether refusals are to be recorded in the audit log."""
        return self._config.audit_logging

    def check(
        self, *, namespace: str, mount: str, path: str, role: str = "", address: str = ""
    ) -> tuple[tuple[str, str], ...]:
        """Count the request; the response headers that operators asked for. Raises RateLimitedError.

        `path` is below the mount, `mount` and `path` are without the namespace. `role` is that of a login.
        However many slashes a path is spelled with, it counts as the one that is served.
        """
        path = single_slashes(path).removeprefix("/")
        below = mount + path
        if self._counts is None or below in self._exempt or below.startswith(self._exempt_below):
            return ()
        quota = self._table.find(namespace, mount, path, role)
        if quota is None:
            return ()
        allowed, standing = self._counts.take(quota, client_of(address))
        if not allowed:
            shown = without_tokens(f"{namespace}{mount}{path}")
            sentence = f'request path "{shown}": rate limit quota exceeded'
            raise RateLimitedError(sentence, name=quota.name, standing=standing)
        return standing.headers(time.time()) if self._config.response_headers else ()

    def refusal_headers(self, error: QuotaExceededError) -> tuple[tuple[str, str], ...]:
        """What a 429 carries: Retry-After always, the rest when operators asked for it."""
        headers: tuple[tuple[str, str], ...] = (("Retry-After", str(error.retry_after)),)
        if self._config.response_headers and isinstance(error, RateLimitedError):
            headers += error.standing.headers(time.time())
        return headers


class _Table:
    """Quotas by what they hold for; the most specific one decides alone."""

    def __init__(self, quotas: dict[str, RateLimit]) -> None:
        self._exact: dict[tuple[str, str], RateLimit] = {}  # by path and role
        self._globs: list[RateLimit] = []
        self._namespaces: dict[str, RateLimit] = {}
        for quota in quotas.values():
            where = quota.namespace + quota.mount + quota.rest.rstrip("/")
            if not quota.mount:
                self._namespaces[quota.namespace] = quota
            elif quota.rest.endswith("*"):
                self._globs.append(quota)
            else:
                self._exact[where, quota.role] = quota
        self._globs.sort(key=lambda quota: len(quota.path), reverse=True)

    def find(self, namespace: str, mount: str, path: str, role: str) -> RateLimit | None:
        """Path and role, path, pattern, mount and role, mount, namespace, the nearest namespace that hands down."""
        at = namespace + mount
        full = at + path.rstrip("/")
        found = (role and self._exact.get((full, role))) or (role and self._exact.get((at, role)))
        found = found or self._exact.get((full, "")) or self._matching(at + path) or self._exact.get((at, ""))
        return found or self._of_namespace(namespace)

    def _matching(self, path: str) -> RateLimit | None:
        for quota in self._globs:
            if path.startswith((quota.namespace + quota.mount + quota.rest)[:-1]):
                return quota
        return None

    def _of_namespace(self, namespace: str) -> RateLimit | None:
        quota = self._namespaces.get(namespace)
        while quota is None and namespace:
            namespace = namespace[: namespace.rstrip("/").rfind("/") + 1]
            above = self._namespaces.get(namespace)
            quota = above if above is not None and above.inheritable else None
        return quota


def client_of(address: str) -> str:
    """Whom a count belongs to: an IPv4 address, the /64 of an IPv6 one, or "" for everybody on a unix socket."""
    if ":" not in address:
        return address
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    return str(parsed.ipv4_mapped or IPv6Address(int(parsed) >> 64 << 64))


def _hash_key(words: memoryview) -> bytes:
    """Drawn once for the node, by whoever comes first."""
    if not words[_HASH_KEY]:
        drawn = memoryview(os.urandom(32)).cast("Q")
        for number in range(4):
            words[_HASH_KEY + number] = drawn[number] | 1
    return b"".join(words[_HASH_KEY + number].to_bytes(8, "little") for number in range(4))
