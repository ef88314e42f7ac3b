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
