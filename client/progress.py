"""How far a command is, shown to people at a terminal."""

import contextlib
import sys
from collections.abc import Callable, Iterator

Advance = Callable[[int], None]


@contextlib.contextmanager
def progress_in_items(label: str, *, wanted: bool) -> Iterator[Advance]:
    """A count on standard error, of which the end is not known, that goes when it is done.

    It begins with the second step: what is done in one needs none, nor the time to load it.
    """
    with contextlib.ExitStack() as stack:
        yield _Count(label, stack).advance if _is_looked_at(wanted=wanted) else lambda _: None


class _Count:
    """A count that may never be shown."""

    def __init__(self, label: str, stack: contextlib.ExitStack) -> None:
        self._label = label
        self._stack = stack
        self._so_far = 0
        self._move: Advance | None = None

    def advance(self, count: int) -> None:
        if self._move is None and self._so_far:
            self._move = self._shown()
            self._move(self._so_far)
        if self._move is not None:
            self._move(count)
        self._so_far += count

    def _shown(self) -> Advance:
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        parts = (SpinnerColumn(), TextColumn("{task.description} {task.completed:.0f}"), TimeElapsedColumn())
        bars = self._stack.enter_context(Progress(*parts, console=Console(stderr=True), transient=True))
        bar = bars.add_task(self._label, total=None)
        return lambda count: bars.update(bar, advance=count)


def _is_looked_at(*, wanted: bool) -> bool:
    return wanted and sys.stderr is not None and sys.stderr.isatty()


@contextlib.contextmanager
def progress_in_bytes(label: str, *, total: int | None, wanted: bool) -> Iterator[Advance]:
    """A bar on standard error that goes when it is done; nothing where no person looks. `total` None: not known."""
    if not _is_looked_at(wanted=wanted):
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    parts = (
        *(TextColumn("{task.description}"), BarColumn(), DownloadColumn(binary_units=True)),
        *(TransferSpeedColumn(), TimeRemainingColumn()),
    )
    with Progress(*parts, console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task(label, total=total)
        yield lambda count: bars.update(bar, advance=count)
