"""The secrets that the scenarios of kv use, in a mount of version 2 at secret/; names are in the order of numbers."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from bench.http_api import Api, ApiError

SECRETS = 1000
LISTED = 10_000
VALUE = {"username": "orders", "password": "correct horse battery staple", "host": "db.example.com", "port": "5432"}

_FOLDER = "listed"
_FILLERS = 16  # connections


def secret_name(number: int) -> str:
    """What fills the `{}` of a path: five digits, as the load generator writes them."""
    return f"{number:05}"


def list_path() -> str:
    """LISTED names in one folder."""
    return f"secret/metadata/{_FOLDER}/?list=true"


def make_secrets(api: Api) -> None:
    """SECRETS secrets with one version each, unless they are there."""
    _mount(api)
    if len(_names(api, "secret/metadata/?list=true")) < SECRETS:
        for_each(api, range(SECRETS), lambda own, n: own.call("POST", f"secret/data/{secret_name(n)}", {"data": VALUE}))


def make_listed(api: Api) -> None:
    """LISTED more in a folder, which nobody reads, unless they are there."""
    _mount(api)
    if len(_names(api, list_path())) < LISTED:
        for_each(
            api,
            range(LISTED),
            lambda own, n: own.call("POST", f"secret/data/{_FOLDER}/{secret_name(n)}-of-a-service", {"data": VALUE}),
        )


def _mount(api: Api) -> None:
    if "secret/" not in api.call("GET", "sys/mounts")["data"]:
        api.call("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
        _wait_ready(api)


def _wait_ready(api: Api) -> None:
    """OpenBao refuses for a moment, since a new mount of version 2 is for it one that was upgraded."""
    deadline = time.monotonic() + 30
    while True:
        try:
            api.call("GET", "secret/config")
        except ApiError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _names(api: Api, path: str) -> Sequence[str]:
    """None of them, when there is no such folder."""
    return api.find(path).get("data", {}).get("keys", ())


def for_each(api: Api, numbers: Sequence[int], act: Callable[[Api, int], object]) -> None:
    """Call `act` once for each number, over several connections to the same server."""

    def act_on_share(share: Sequence[int]) -> None:
        with Api(api.address, api.token) as own:
            for number in share:
                act(own, number)

    with ThreadPoolExecutor(_FILLERS) as pool:
        for done in [pool.submit(act_on_share, numbers[first::_FILLERS]) for first in range(_FILLERS)]:
            done.result()
