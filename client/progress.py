"""How far a command is, shown to people at a terminal."""

import contextlib
import sys
from collections.abc import Callable, Iterator

Advance = Callable[[int], None]


@contextlib.contextmanager
def progress_in_items(label: str, *, wanted: bool, total: int | None = None) -> Iterator[Advance]:
    """A count on standard error that goes when it is done; with a bar where the end is known."""
    if not _is_looked_at(wanted=wanted):
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    parts: tuple[ProgressColumn, ...]
    if total is None:
        parts = (SpinnerColumn(), TextColumn("{task.description} {task.completed:.0f}"), TimeElapsedColumn())
    else:
        parts = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*parts, console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task(label, total=total)
        yield lambda count: bars.update(bar, advance=count)


@contextlib.contextmanager
def progress_in_pages(label: str, *, wanted: bool) -> Iterator[Advance]:
    """As `progress_in_items`, from the second step on: what is done in one needs no count, nor the time to load it."""
    with contextlib.ExitStack() as stack:
        yield _Count(lambda: stack.enter_context(progress_in_items(label, wanted=wanted))).advance


class _Count:
    """A count that may never be shown."""

    def __init__(self, begin: Callable[[], Advance]) -> None:
        self._begin = begin
        self._so_far = 0
        self._move: Advance | None = None

    def advance(self, count: int) -> None:
        if self._move is None and self._so_far:
            self._move = self._begin()
            self._move(self._so_far)
        if self._move is not None:
            self._move(count)
        self._so_far += count


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
