"""stages/ and states/: which version is current, previous, pending, and which may be read at all."""

from typing import Any

import msgspec

from core.engine import Method, NoBody, Route
from core.errors import InvalidRequestError, NotFoundError
from core.requests import NO_CONTENT, Operation, Request, Response
from kv.bodies import VersionsBody
from kv.labels import label_of
from kv.names import secret_name
from kv.parts import Parts
from kv.secret import Secret, State
from kv.version_numbers import parse_versions


class StageBody(msgspec.Struct):
    """A label is to name a version. `cas`: the version that must have the label now; 0: none may."""

    stage: str | None = None
    version: Any = None
    cas: int | None = None


class StateBody(VersionsBody):
    """Versions are to be in a state: enabled, disabled or destroyed."""

    state: str | None = None


class StageRoutes:
    """Labels of AWS Secrets Manager, states of GCP Secret Manager."""

    def __init__(self, parts: Parts) -> None:
        self._store = parts.store
        self._engine = parts.engine

    def routes(self) -> list[Route]:
        """Below the mount."""
        return [
            Route(
                pattern="stages/{path...}",
                exists=self._exists,
                methods={
                    Operation.READ: Method(
                        handler=self._read, mutates=False, summary="Labels and the versions that they name"
                    ),
                    Operation.UPDATE: Method(handler=self._move, body=StageBody, summary="Move a label to a version"),
                    Operation.DELETE: Method(handler=self._remove, summary="Remove the label `stage`"),
                },
                help="Labels on versions. To move `current` makes a version the one that is read; what was current"
                " becomes `previous`, and `pending` ends if it named that version.",
            ),
            Route(
                pattern="states/{path...}",
                exists=self._exists,
                methods={
                    Operation.UPDATE: Method(
                        handler=self._set_state, body=StateBody, summary="Enable, disable or destroy versions"
                    )
                },
                help="A disabled version is not read until it is enabled again; a destroyed one is gone for good.",
            ),
        ]

    async def _exists(self, request: Request) -> bool:
        return await self._store.find(secret_name(request)) is not None

    async def _read(self, request: Request, _body: NoBody) -> Response:
        opened = await self._store.find(secret_name(request))
        if opened is None:
            raise NotFoundError("")
        return _stages(opened.secret)

    async def _move(self, request: Request, body: StageBody) -> Response:
        if body.cas is not None and body.cas < 0:
            raise InvalidRequestError("cas must not be negative")
        label, numbers = _label(body.stage), parse_versions(body.version)
        if len(numbers) > 1:
            raise InvalidRequestError("a stage names one version")
        return _stages(await self._engine.set_label(secret_name(request), label, numbers[0], cas=body.cas))

    async def _remove(self, request: Request, _body: NoBody) -> Response:
        await self._engine.remove_label(secret_name(request), _label(request.query.get("stage")))
        return NO_CONTENT

    async def _set_state(self, request: Request, body: StateBody) -> Response:
        numbers, state = parse_versions(body.versions), _state(body.state)
        secret = await self._engine.set_state(secret_name(request), numbers, state)
        now = self._engine.now()
        return Response(data={"states": {str(number): secret.versions[number].state(now).value for number in numbers}})


def _stages(secret: Secret) -> Response:
    return Response(data={"stages": dict(sorted(secret.labels.items()))})


def _label(text: str | None) -> str:
    """Raises InvalidRequestError."""
    label = label_of(text or "")
    if not label:
        raise InvalidRequestError("stage is missing: current, previous, pending or a label of your own")
    return label


def _state(word: str | None) -> State:
    """Raises InvalidRequestError."""
    try:
        return State((word or "").lower())
    except ValueError:
        raise InvalidRequestError("state must be enabled, disabled or destroyed") from None
