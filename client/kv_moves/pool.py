"""Many secrets at once, by a few threads: what became of each, and when to stop."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from client.errors import CliError, DeniedError, LocalError, NoAnswerError, RefusedError, UnavailableError
from client.kv_moves.target import Done, Outcome

if TYPE_CHECKING:
    from client.progress import Advance

T = TypeVar("T")
R = TypeVar("R")

HOPELESS = 20  # times 403 before anything went well: it is not the secrets
_NAMED = 100_000  # names that are kept for what is said of them


@dataclass(slots=True)
class Summary:
    """What became of all of them."""

    outcomes: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))
    versions: int = 0
    failed: int = 0
    denied: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    stopped: CliError | None = None  # why not all were tried

    @property
    def verified(self) -> int:
        """Secrets that were read back and are the same."""
        return self.outcomes[Outcome.IMPORTED] + self.outcomes[Outcome.PRESENT]

    @property
    def tried(self) -> int:
        """Secrets of which something became."""
        return sum(self.outcomes.values()) + self.failed

    def add(self, name: str, done: Done) -> None:
        """One that went well."""
        self.outcomes[done.outcome] += 1
        self.versions += done.versions
        if len(self.notes) < _NAMED:
            self.notes += [(name, note) for note in done.notes]

    def fail(self, name: str, exc: CliError) -> None:
        """One that did not."""
        self.failed += 1
        if len(self.failures) < _NAMED:
            self.failures.append((name, exc.sentence))
        self.denied += isinstance(exc, DeniedError)
        if self.denied >= HOPELESS and not any(self.outcomes.values()):
            self.stopped = LocalError(f"{self.denied} secrets were refused and none was taken: the rest was not tried")


def run_all(
    items: Iterable[T], work: Callable[[T], Done], name_of: Callable[[T], str], *, parallel: int, advance: "Advance"
) -> Summary:
    """Work on each. RefusedError and LocalError are of one secret; what else goes wrong ends the whole."""
    summary = Summary()
    pool = ThreadPoolExecutor(max_workers=parallel, thread_name_prefix="secrets")
    running: dict[Future[Done], str] = {}
    cancel = True
    try:
        for item in items:
            running[pool.submit(work, item)] = name_of(item)
            if len(running) >= 2 * parallel:
                _collect(running, summary, advance)
            if summary.stopped is not None:
                break
        while running:
            _collect(running, summary, advance)
    except CliError as exc:  # of the items themselves, if no server is away: what was taken on is finished
        summary.stopped = exc
        cancel = isinstance(exc, NoAnswerError | UnavailableError)
    finally:
        pool.shutdown(wait=True, cancel_futures=cancel)
    for future, name in running.items():  # what was under way when it was stopped
        if not future.cancelled() and not isinstance(future.exception(), NoAnswerError | UnavailableError):
            _count(future, name, summary)
    return summary


def in_order(items: Iterable[T], work: Callable[[T], R], *, parallel: int) -> Iterator[R]:
    """What `work` makes of each, in the order of the items; few are held at a time. The first error ends it."""
    pool = ThreadPoolExecutor(max_workers=parallel, thread_name_prefix="secrets")
    running: deque[Future[R]] = deque()
    try:
        for item in items:
            running.append(pool.submit(work, item))
            if len(running) >= 2 * parallel:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _collect(running: dict["Future[Done]", str], summary: Summary, advance: "Advance") -> None:
    """Take what is ready, and wait for the first if nothing is."""
    ready, _ = wait(running, return_when=FIRST_COMPLETED)
    for future in ready:
        _count(future, running.pop(future), summary)
        advance(1)


def _count(future: "Future[Done]", name: str, summary: Summary) -> None:
    try:
        summary.add(name, future.result())
    except (RefusedError, LocalError) as exc:
        summary.fail(name, exc)
