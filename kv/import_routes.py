"""import/: secrets from elsewhere, with the numbers, times and states that their versions had there."""

from typing import NamedTuple

from core.engine import Method, Route
from core.requests import Operation, Request, Response
from kv import importing
from kv.announcements import announcement
from kv.authors import author_of
from kv.import_body import ImportBody, parse_import
from kv.importing import Given
from kv.names import secret_name
from kv.parts import Parts
from kv.secret import Author, Secret, Settings
from kv.store import SecretChange, new_id


class Imported(NamedTuple):
    """What became of the versions of one request."""

    secret: Secret
    added: list[int]
    present: list[int]
    dropped: list[int]
    created: bool = False  # the secret


class ImportRoutes:
    """One path, with a policy of its own: whoever may write here says when and in which state versions were made."""

    def __init__(self, parts: Parts) -> None:
        self._mount = parts.mount.path
        self._store = parts.store
        self._engine = parts.engine

    def routes(self) -> list[Route]:
        """Below the mount."""
        text = "Import a secret with all its versions. What is there already is passed over if it is the same."
        method = Method(handler=self._import, body=ImportBody, summary=text)
        return [
            Route(pattern="import/{path...}", exists=self._exists, methods={Operation.UPDATE: method}, help=text),
        ]

    async def _exists(self, request: Request) -> bool:
        return await self._store.find(secret_name(request)) is not None

    async def _import(self, request: Request, body: ImportBody) -> Response:
        name, now = secret_name(request), self._engine.now()
        given = parse_import(request, body, now=now)
        settings, author = await self._store.settings(), author_of(request)

        async def work(change: SecretChange) -> Imported:
            return await self._apply(change, given, author=author, now=now, settings=settings)

        return _answer(await self._store.change(name, work))

    async def _apply(
        self, change: SecretChange, given: Given, *, author: Author, now: int, settings: Settings
    ) -> Imported:
        """Compare what is there, add the rest."""
        before = change.before
        if before is not None:
            importing.check_same_settings(before, given)
        secret = before or importing.created(new_id(), given, now)
        found = importing.sorted_out(secret, given, settings)
        for number in found.present:
            row, said = secret.versions[number], given.versions[number]
            value = None if row.destroyed or said.value is None else await change.value(number)
            importing.check_same(number, row, said, value)
        if before is not None and not found.added:
            importing.check_same_labels(before, given)
            return Imported(before, added=[], present=found.present, dropped=found.dropped)
        after = importing.with_versions(secret, given, found.added, author=author, now=now, settings=settings)
        kept = [number for number in found.added if number in after.versions]
        after = await change.write(after, _values(after, given, kept))
        await change.txn.announce(announcement("import", self._mount, change.name, after, numbers=kept))
        dropped = [*found.dropped, *(number for number in found.added if number not in after.versions)]
        return Imported(after, added=kept, present=found.present, dropped=dropped, created=before is None)


def _values(secret: Secret, given: Given, numbers: list[int]) -> dict[int, bytes]:
    values = {number: given.versions[number].value for number in numbers if not secret.versions[number].destroyed}
    return {number: value for number, value in values.items() if value is not None}


def _answer(done: Imported) -> Response:
    return Response(
        data={
            "imported": done.added,
            "present": done.present,
            "dropped": done.dropped,
            "created": done.created,
            "current_version": done.secret.current,
            "oldest_version": done.secret.oldest,
        }
    )
