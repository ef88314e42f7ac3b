"""Whether a secret is what somebody looks for. No I/O."""

from typing import NamedTuple

from kv.secret import Secret

Row = dict[str, object]


class Sought(NamedTuple):
    """All that is given must hold. `text` is anywhere in the name or the metadata, the others are whole values.

    Large and small letters are alike, but in `custom`.
    """

    text: str = ""
    owner: str = ""
    classification: str = ""
    custom: tuple[str, str] | None = None  # key and value of custom_metadata

    @property
    def asks_metadata(self) -> bool:
        """Whether a name alone cannot match."""
        return bool(self.owner or self.classification or self.custom)


def match_name(name: str, sought: Sought) -> Row | None:
    """The row for a caller who may know the name alone."""
    if sought.asks_metadata or sought.text.casefold() not in name.casefold():
        return None
    return {"name": name, "matches": ["name"]}


def match_secret(name: str, secret: Secret, sought: Sought) -> Row | None:
    """The row for a caller who may read the metadata; `matches` tells in which members the text is."""
    if not _holds(secret, sought):
        return None
    matches = _members_with(sought.text.casefold(), name, secret) if sought.text else []
    if sought.text and not matches:
        return None
    return {
        "name": name,
        "matches": matches,
        "owner": secret.owner,
        "classification": secret.classification,
        "custom_metadata": secret.custom_metadata,
    }


def _holds(secret: Secret, sought: Sought) -> bool:
    if sought.owner and sought.owner.casefold() != secret.owner.casefold():
        return False
    if sought.classification and sought.classification.casefold() != secret.classification.casefold():
        return False
    if sought.custom is None:
        return True
    key, value = sought.custom
    return (secret.custom_metadata or {}).get(key) == value


def _members_with(text: str, name: str, secret: Secret) -> list[str]:
    custom = secret.custom_metadata or {}
    members = {
        "name": (name,),
        "owner": (secret.owner,),
        "classification": (secret.classification,),
        "custom_metadata": (*custom, *custom.values()),
    }
    return [member for member, values in members.items() if any(text in value.casefold() for value in values)]
