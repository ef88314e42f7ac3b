"""Which roles name an issuer: whoever renames or deletes it hears how many will not find it any more."""

from collections.abc import Collection

from pki.store import PkiStore

_MOST = 1000  # roles that are looked at; a mount with more has its answer in time, too


async def about_roles(store: PkiStore, references: Collection[str]) -> list[str]:
    """Warnings, one for each of the references that roles use."""
    names = await store.role_names(limit=_MOST + 1)
    counts: dict[str, int] = {}
    for name in names[:_MOST]:
        role = await store.role(name)
        if role is not None and role.role.issuer_ref in references:
            counts[role.role.issuer_ref] = counts.get(role.role.issuer_ref, 0) + 1
    at_least = "at least " if len(names) > _MOST else ""
    return [f"{at_least}{count} roles reference {reference}" for reference, count in sorted(counts.items())]
