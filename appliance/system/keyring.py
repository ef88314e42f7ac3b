"""`sys/key-status` and `sys/rotate`: the terms of the barrier's keyring."""

from barrier.seal import Barrier
from core.clock import rfc3339
from core.engine import Method, Route
from core.requests import NO_CONTENT, Operation, Request, Response


class KeyringRoutes:
    """Looks at the keyring and adds terms."""

    def __init__(self, barrier: Barrier) -> None:
        self._barrier = barrier

    def routes(self) -> list[Route]:
        """Below sys/."""
        status = Method(handler=self.status, mutates=False, summary="The active term.")
        rotate = Method(handler=self.rotate, summary="Add a term; older entries still open.")
        rotation = {Operation.UPDATE: rotate}
        return [
            Route(pattern="key-status", methods={Operation.READ: status}, help="The keyring's active term."),
            Route(pattern="rotate", methods=rotation, help="Rotate the keyring.", sudo=True),
            Route(pattern="rotate/keyring", methods=rotation, help="Rotate the keyring.", sudo=True),
        ]

    async def status(self, _request: Request, _body: object) -> Response:
        """Vault's fields; `encryptions` is an upper bound."""
        status = await self._barrier.key_status()
        data = {
            "term": status.term,
            "install_time": rfc3339(status.installed_at),
            "encryptions": status.encryptions,
        }
        return Response(data=data, repeat_data=True)

    async def rotate(self, _request: Request, _body: object) -> Response:
        """The new term is in use when this returns."""
        await self._barrier.rotate()
        return NO_CONTENT
