"""How far a command is, shown to people at a terminal."""

import contextlib
import sys
from collections.abc import Callable, Iterator

Advance = Callable[[int], None]


@contextlib.contextmanager
def progress_in_items(label: str, *, wanted: bool) -> Iterator[Advance]:
    """A count on standard error, of which the end is not known, that goes when it is done."""
    if not _is_looked_at(wanted=wanted):
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    parts = (SpinnerColumn(), TextColumn("{task.description} {task.completed:.0f}"), TimeElapsedColumn())
    with Progress(*parts, console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task(label, total=None)
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
