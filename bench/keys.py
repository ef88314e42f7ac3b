"""`bench/keys`: what many transit keys in one mount cost: a page of the list, a cold key, memory, and rotation.

The keys are made over HTTP, each with its key inside the HSM. The appliance is then started again with one worker, so
that every key is cold and one process holds what the keys cost: pages from the middle of the list are timed, then first
uses of keys that nobody has used since the start, then the worker's memory is read before and after many more of them,
twice: the handles of live keys are a bounded LRU, so the second half must add little. The last part has a worker for
each core: the latency of encryption under load, without and with a rotation of the key every second.
"""

import argparse
import random
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench import scenarios
from bench.figures import add_json_option, report
from bench.http_api import Api
from bench.load import run_wrk
from bench.scenarios import IN_HSM, PLAINTEXT
from bench.servers import Mimir, ServerError
from bench.startup import for_each_key, key_name, make_keys, say, token_objects

PAGE = 100
PAGES = 50  # lists that are timed
COLD = 500  # first uses that are timed, and as many of one key that is in use
SETTLE = 1.0  # seconds after which a worker's memory is read
ROTATE_EVERY = 1.0  # seconds


@contextmanager
def serving(directory: Path, *, workers: int | None = None) -> Iterator[Mimir]:
    """The appliance over this directory, for as long as the block runs."""
    server = Mimir(directory / "mimir", workers=workers)
    try:
        yield server.start()
    finally:
        server.stop()


def timed(act: Callable[[], object]) -> float:
    """Milliseconds that it takes."""
    begin = time.perf_counter()
    act()
    return (time.perf_counter() - begin) * 1000


def median_and_p99(name: str, milliseconds: Sequence[float]) -> dict[str, object]:
    """Two figures, by what was measured."""
    ordered = sorted(milliseconds)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return {f"{name}_ms_median": round(statistics.median(ordered), 2), f"{name}_ms_p99": round(p99, 2)}


def list_pages(api: Api, *, keys: int) -> dict[str, object]:
    """Pages around the middle of the list, each checked to be the page that was asked for."""

    def page(first: int) -> None:
        answer = api.call("LIST", f"transit/keys?limit={PAGE}&after={key_name(first)}")["data"]["keys"]
        if answer != [key_name(number) for number in range(first + 1, first + 1 + PAGE)]:
            raise ServerError(f"the page behind {key_name(first)} is another: {answer[:3]}…")

    middle = max(0, keys // 2 - PAGE)
    page(middle)
    return median_and_p99("list_page", [timed(lambda n=n: page(middle - n)) for n in range(min(PAGES, middle + 1))])


def use(api: Api, name: str) -> None:
    """One encryption under the key."""
    api.call("POST", f"transit/encrypt/{name}", {"plaintext": PLAINTEXT})


def first_uses(server: Mimir, *, keys: int, touch: int) -> dict[str, object]:
    """First uses one after the other, timed; then `touch` more keys are used, twice, and memory is read between."""
    order = random.Random(4).sample(range(keys), keys)  # noqa: S311 - an order that is the same at every run
    with Api(server.address, server.token) as api:
        for _ in range(PAGE):  # what the first requests of a process cost is not what is measured
            use(api, IN_HSM.name)
        cold, rest = order[:COLD], order[COLD:]
        result = median_and_p99("warm_key", [timed(lambda: use(api, IN_HSM.name)) for _ in cold])
        result |= median_and_p99("cold_key", [timed(lambda n=n: use(api, key_name(n))) for n in cold])
    memory = [_settled_memory(server)]
    for half in range(2):
        share = rest[half * touch : (half + 1) * touch]
        for_each_key(server, share, use)
        memory.append(_settled_memory(server))
        say(f"{len(share):,} more keys used: the worker holds {memory[-1]:.1f} MiB")
    names = ("worker_mib_before", f"worker_mib_after_{touch}", f"worker_mib_after_{2 * touch}")
    return result | dict(zip(names, memory, strict=True))


def _settled_memory(server: Mimir) -> float:
    time.sleep(SETTLE)
    return round(server.memory().worker, 1)


def latency(server: Mimir, *, seconds: int) -> float:
    """p99 of encryption over wrk's connections, in milliseconds; any failed request voids it."""
    path = f"transit/encrypt/{IN_HSM.name}"
    body = b'{"plaintext": "' + PLAINTEXT.encode() + b'"}'
    return round(run_wrk(server.address, path, token=server.token, body=body, seconds=seconds).p99, 2)


@contextmanager
def rotating(server: Mimir) -> Iterator[list[float]]:
    """Rotate the key every second while the block runs; gives the milliseconds of each rotation."""
    done, taken = threading.Event(), list[float]()
    failures: list[Exception] = []

    def rotate() -> None:
        try:
            with Api(server.address, server.token) as api:
                while not done.wait(ROTATE_EVERY):
                    taken.append(timed(lambda: api.call("POST", f"transit/keys/{IN_HSM.name}/rotate", {})))
        except Exception as error:  # noqa: BLE001 - raised again below, in the thread that can report it
            failures.append(error)

    thread = threading.Thread(target=rotate)
    thread.start()
    try:
        yield taken
    finally:
        done.set()
        thread.join()
    if failures:
        raise failures[0]
    if not taken:
        raise ServerError("the key was not rotated once: measure for longer")


def under_rotation(server: Mimir, *, seconds: int) -> dict[str, object]:
    """The latency without rotation, then with it."""
    latency(server, seconds=1)
    quiet = latency(server, seconds=seconds)
    with rotating(server) as taken:
        busy = latency(server, seconds=seconds)
    return {
        "encrypt_p99_ms": quiet,
        "encrypt_p99_ms_while_rotating": busy,
        "rotations": len(taken),
        "rotate_ms_median": round(statistics.median(taken), 1),
    }


def run(directory: Path, *, keys: int, touch: int, seconds: int, limit: float) -> dict[str, object]:
    """The whole measurement."""
    if keys < COLD + 2 * touch:
        raise ServerError(f"{keys} keys are too few: {COLD} + 2 * {touch} of them are used")
    with serving(directory) as server:
        with Api(server.address, server.token) as api:
            scenarios.prepare(api)
        make_keys(server, count=keys, deadline=time.monotonic() + limit)
    result: dict[str, object] = {"keys": keys}
    with serving(directory, workers=1) as server:
        with Api(server.address, server.token) as api:
            result |= list_pages(api, keys=keys)
        result |= first_uses(server, keys=keys, touch=touch)
        result["objects_in_hsm_token"] = token_objects(server, directory)
    with serving(directory) as server:
        result |= under_rotation(server, seconds=seconds)
    return result


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench/keys", description="Measure what many transit keys cost.")
    parser.add_argument("--keys", type=int, default=100_000, help="how many (default: 100000)")
    parser.add_argument("--touch", type=int, default=20_000, help="how many are used, twice (default: 20000)")
    parser.add_argument("--seconds", type=int, default=10, help="length of each part under load (default: 10)")
    parser.add_argument("--limit", type=float, default=900, help="seconds that making the keys may take (default: 900)")
    add_json_option(parser)
    options = parser.parse_args()
    return report(
        "bench/keys",
        lambda directory: run(
            directory, keys=options.keys, touch=options.touch, seconds=options.seconds, limit=options.limit
        ),
        json_file=options.json,
    )


if __name__ == "__main__":
    sys.exit(main())
