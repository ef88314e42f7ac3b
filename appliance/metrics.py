"""What the processes of a node count, and the sum of it: a scrape answers for all of them, whichever it reaches.

Each process counts in its own lane of a shared file (`appliance.lanes`): a few additions to memory a request. Counters
live as long as the file, so a worker's restart does not set them back; what is true of a running process only (requests
under way, the seal) is read from lanes whose process runs. What the store knows better than any process (leases) is
asked for at the scrape.
"""

import os
import time
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterable, Sequence
from enum import Enum
from hashlib import blake2b
from pathlib import Path

import msgspec

from appliance.lanes import Lanes

OTHER = "other"
BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds
_CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")
_BUCKETS = len(BOUNDS) + 1
_BLOCK = len(_CLASSES) + _BUCKETS + 1  # words of a mount type: by class, by bucket, sum in microseconds


class Counter(Enum):
    """What only grows."""

    REFUSALS = "policy_refusals_total", "Requests refused for their token or policy."
    TOKENS = "tokens_created_total", "Tokens created, by logins and by auth/token/create."
    LOGINS = "logins_total", "Logins granted."
    LOGINS_FAILED = "logins_failed_total", "Logins with wrong credentials."
    RATE_LIMITED = "rate_limited_total", "Requests refused by a rate-limit quota."
    AUDIT_FAILURES = "audit_failures_total", "Requests refused because no audit device took their record."
    LEASES_REVOKED = "leases_revoked_total", "Leases revoked, at their end or before."
    TOKENS_EXPIRED = "tokens_expired_total", "Expired tokens removed by the housekeeper."
    KEYS_ROTATED = "transit_keys_rotated_total", "Versions added to transit keys, by hand and by themselves."
    LIMITS_NEAR = (
        "transit_encryption_limit_warnings_total",
        "Blocks of encryptions reserved of a key version that is near the limit of its nonces.",
    )
    LIMITS_REACHED = (
        "transit_encryption_limit_reached_total",
        "Encryptions refused because their key version is used up and nothing rotates it.",
    )
    CERTIFICATES = "pki_certificates_issued_total", "Certificates signed for leaves."
    INTENTS_ABANDONED = (
        "pki_intents_abandoned_total",
        "Serial numbers given up because the certificate's signature never came.",
    )

    def __init__(self, word: str, text: str) -> None:
        self.word = word
        self.text = text

    __hash__ = object.__hash__


class Gauge(Enum):
    """What goes up and down in a process that runs. `is_sum`: added up over processes; otherwise the highest counts."""

    IN_FLIGHT = "requests_in_flight", "Requests being served.", True
    UNSEALED = "unsealed", "1 when a process of the node has its keys.", False
    HSM_BREAKER = "hsm_breaker_open", "1 while the HSM is taken for gone and calls fail at once.", False
    PROCESSES = "processes", "Processes that count.", True

    def __init__(self, word: str, text: str, is_sum: bool) -> None:
        self.word = word
        self.text = text
        self.is_sum = is_sum

    __hash__ = object.__hash__


# what engines may count: the names of `core.engine.Meter`
_EVENTS = {
    "key_rotated": Counter.KEYS_ROTATED,
    "encryption_limit_near": Counter.LIMITS_NEAR,
    "encryption_limit_reached": Counter.LIMITS_REACHED,
    "certificate_issued": Counter.CERTIFICATES,
    "intent_abandoned": Counter.INTENTS_ABANDONED,
}
_COUNTERS = {counter: place for place, counter in enumerate(Counter)}
_GAUGES = {gauge: len(Counter) + place for place, gauge in enumerate(Gauge)}
_TYPES = len(Counter) + len(Gauge)  # where the blocks of the mount types begin


class Sample(msgspec.Struct, frozen=True):
    """One number."""

    name: str
    value: float
    labels: tuple[tuple[str, str], ...] = ()


class Family(msgspec.Struct, frozen=True):
    """Samples of one name. `kind` is counter, gauge or histogram."""

    name: str
    kind: str
    text: str
    samples: tuple[Sample, ...]


Extra = Callable[[], Awaitable[Iterable[Family]]]


class Metrics:
    """One process's counters, and everybody's when asked."""

    def __init__(self, lanes: Lanes, mount_types: Sequence[str]) -> None:
        self._lanes = lanes
        self._words = lanes.words
        self._own = own = lanes.own
        self._types = tuple(mount_types)
        self._blocks = {name: own + _TYPES + place * _BLOCK for place, name in enumerate(self._types)}
        self._other = self._blocks[OTHER]
        self._in_flight = own + _GAUGES[Gauge.IN_FLIGHT]
        for place in _GAUGES.values():
            self._words[own + place] = 0
        self.set(Gauge.PROCESSES, 1)

    @classmethod
    def open(cls, directory: str | os.PathLike[str], mount_types: Iterable[str]) -> "Metrics":
        """The node's file in its runtime directory. The name tells layouts apart. Raises ConfigError."""
        types = (*sorted(set(mount_types) - {OTHER}), OTHER)
        layout = repr((types, [counter.word for counter in Counter], [gauge.word for gauge in Gauge], BOUNDS))
        path = Path(directory) / f"metrics-{blake2b(layout.encode(), digest_size=4).hexdigest()}"
        return cls(Lanes.open(path, lane_words=_TYPES + len(types) * _BLOCK), types)

    def close(self) -> None:
        """Give the lane back; its counters stay."""
        for place in _GAUGES.values():
            self._words[self._own + place] = 0
        self._words = memoryview(b"").cast("Q")
        self._lanes.close()

    # --- hooks --------------------------------------------------------------------------------------------------

    def began(self) -> None:
        """A request came."""
        self._words[self._in_flight] += 1

    def ended(self, mount_type: str, status: int, seconds: float) -> None:
        """The same request was answered."""
        words = self._words
        words[self._in_flight] -= 1
        block = self._blocks.get(mount_type, self._other)
        words[block + status // 100 - 1] += 1
        block += 5
        words[block + bisect_left(BOUNDS, seconds)] += 1
        words[block + _BUCKETS] += int(seconds * 1_000_000)

    def count(self, counter: Counter, number: int = 1) -> None:
        """It happened."""
        self._words[self._own + _COUNTERS[counter]] += number

    def set(self, gauge: Gauge, value: float) -> None:
        """It is so now, in this process; not negative, whole numbers."""
        self._words[self._own + _GAUGES[gauge]] = max(0, int(value))

    # --- the sum ------------------------------------------------------------------------------------------------

    def families(self) -> list[Family]:
        """Everything that is counted, over all processes of the node."""
        starts = self._lanes.starts()
        live = list(self._lanes.live_starts())
        found = [
            _family(counter.word, "counter", counter.text, self._sum(starts, place))
            for counter, place in _COUNTERS.items()
        ]
        found += [
            _family(gauge.word, "gauge", gauge.text, self._gauge(live, gauge, place))
            for gauge, place in _GAUGES.items()
        ]
        return [*found, self._requests(starts), self._latency(starts)]

    def _sum(self, starts: Iterable[int], place: int) -> int:
        words = self._words
        return sum(words[start + place] for start in starts)

    def _gauge(self, live: list[int], gauge: Gauge, place: int) -> int:
        if gauge.is_sum:
            return self._sum(live, place)
        return max((self._words[start + place] for start in live), default=0)

    def _requests(self, starts: range) -> Family:
        samples = []
        for number, mount_type in enumerate(self._types):
            for place, status_class in enumerate(_CLASSES):
                total = self._sum(starts, _TYPES + number * _BLOCK + place)
                if total:
                    labels = (("mount_type", mount_type), ("status", status_class))
                    samples.append(Sample("mimir_requests_total", total, labels))
        return Family("mimir_requests_total", "counter", "Requests answered.", tuple(samples))

    def _latency(self, starts: range) -> Family:
        name, samples = "mimir_request_seconds", []
        for number, mount_type in enumerate(self._types):
            block = _TYPES + number * _BLOCK + len(_CLASSES)
            counts = [self._sum(starts, block + place) for place in range(_BUCKETS)]
            if not sum(counts):
                continue
            label, running = ("mount_type", mount_type), 0
            for bound, count in zip((*map(str, BOUNDS), "+Inf"), counts, strict=True):
                running += count
                samples.append(Sample(f"{name}_bucket", running, (label, ("le", bound))))
            samples.append(Sample(f"{name}_sum", self._sum(starts, block + _BUCKETS) / 1_000_000, (label,)))
            samples.append(Sample(f"{name}_count", running, (label,)))
        return Family(name, "histogram", "How long requests took.", tuple(samples))


class EngineMeter:
    """The counters that engines may add to; implements core.engine.Meter."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def count(self, event: str, number: int = 1) -> None:
        """Add to the event's counter, which only grows; an event that has none is dropped."""
        counter = _EVENTS.get(event)
        if counter is not None and number > 0:
            self._metrics.count(counter, number)


def _family(word: str, kind: str, text: str, value: float) -> Family:
    return Family(f"mimir_{word}", kind, text, (Sample(f"mimir_{word}", value),))


def gauge_family(word: str, text: str, values: Iterable[tuple[tuple[tuple[str, str], ...], float]]) -> Family:
    """A gauge that is asked for at the scrape: labels and value of each sample."""
    name = f"mimir_{word}"
    return Family(name, "gauge", text, tuple(Sample(name, value, labels) for labels, value in values))


def prometheus_text(families: Iterable[Family]) -> bytes:
    """The text exposition format, version 0.0.4."""
    lines: list[str] = []
    for family in families:
        lines.append(f"# HELP {family.name} {_escape(family.text)}")
        lines.append(f"# TYPE {family.name} {family.kind}")
        lines += [f"{sample.name}{_labels(sample.labels)} {_number(sample.value)}" for sample in family.samples]
    return ("\n".join(lines) + "\n").encode()


def go_metrics(families: Iterable[Family], *, now: float) -> dict[str, object]:
    """What Vault answers without a format, roughly as go-metrics' in-memory sink shows it."""
    gauges: list[dict[str, object]] = []
    counters: list[dict[str, object]] = []
    for family in families:
        for sample in family.samples:
            name, labels = sample.name.replace("_", ".", 1), dict(sample.labels)
            if family.kind == "gauge":
                gauges.append({"Name": name, "Value": sample.value, "Labels": labels})
            else:
                counters.append({"Name": name, "Count": sample.value, "Sum": sample.value, "Labels": labels})
    stamp = time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC", time.gmtime(now))
    return {"Timestamp": stamp, "Gauges": gauges, "Points": [], "Counters": counters, "Samples": []}


def _labels(labels: tuple[tuple[str, str], ...]) -> str:
    if not labels:
        return ""
    quoted = ('{}="{}"'.format(name, _escape(value).replace('"', r"\"")) for name, value in labels)
    return "{" + ",".join(quoted) + "}"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
