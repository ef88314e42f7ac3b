"""Deciding whether a set of policies allows a request: Vault's priority rules over exact paths, `*` and `+`.

The most specific pattern that matches decides alone, across all policies. An exact path comes first. Of the others the
one whose first wildcard comes later; then the one without a `*` at its end; then the one with fewer `+`; then the
longer; then the lexicographically larger. Policies with the same pattern add up, except that `deny` overrides.
"""

from collections.abc import Iterable

from appliance.access.rules import CAPABILITIES, Policy

_MEMO_ENTRIES = 512
_MEMO_PATH = 512  # characters; longer paths are decided anew, so that the memo stays bounded
_LISTING = frozenset({"list", "scan"})


class _Grant:
    """What all policies together say for one pattern."""

    __slots__ = ("granted_by",)

    def __init__(self) -> None:
        self.granted_by: dict[str, list[str]] = {}  # capability: the policies it comes from

    def add(self, policy: str, capabilities: tuple[str, ...]) -> None:
        if "deny" in self.granted_by:
            capabilities = ("deny",) if "deny" in capabilities else ()
        elif "deny" in capabilities:
            self.granted_by.clear()
            capabilities = ("deny",)
        for capability in capabilities:
            names = self.granted_by.setdefault(capability, [])
            if policy not in names:
                names.append(policy)


class _Pattern:
    """A pattern with wildcards; `rank` orders those that match one path, the greatest decides."""

    __slots__ = ("_is_prefix", "_parts", "grant", "head", "rank")

    def __init__(self, text: str, grant: _Grant) -> None:
        self.grant = grant
        self._is_prefix = text.endswith("*")
        text = text.removesuffix("*")
        segmented = is_segmented(text)
        self._parts = text.split("/") if segmented else None
        self.head = text[: text.index("+")] if segmented else text
        wildcards = self._parts.count("+") if self._parts else 0
        raw = text.encode()
        self.rank = (len(self.head), not self._is_prefix, -wildcards, len(raw), raw)

    def matches(self, segments: list[str]) -> bool:
        """Whether it matches a path of these segments that starts with its head."""
        parts = self._parts
        if parts is None:
            return True
        if len(parts) != len(segments) and (not self._is_prefix or len(parts) > len(segments)):
            return False
        last = len(parts) - 1 if self._is_prefix else -1
        for i, part in enumerate(parts):
            if part not in ("+", segments[i]) and not (i == last and segments[i].startswith(part)):
                return False
        return True

    def reaches(self, prefix: list[str]) -> bool:
        """Whether some path below the folder of these segments can match."""
        parts = self._parts if self._parts is not None else self.head.split("/")
        last = len(parts) - 1
        for i, segment in enumerate(prefix):
            if self._is_prefix and i == last:
                return segment.startswith(parts[i])
            if i >= last or parts[i] not in ("+", segment):
                return False
        return True


def is_segmented(pattern: str) -> bool:
    """Whether it counts as one with `+` segments, as Vault tells them apart."""
    return pattern == "+" or "/+" in pattern or pattern.startswith("+/")


class Acl:
    """The access list of one set of policies. Immutable but for its memo."""

    __slots__ = ("_exact", "_heads", "_lengths", "_memo", "is_root")

    def __init__(self, policies: Iterable[Policy], *, is_root: bool = False) -> None:
        self.is_root = is_root
        self._exact: dict[str, _Grant] = {}
        self._heads: dict[str, list[_Pattern]] = {}
        self._memo: dict[tuple[str, str, bool], bool] = {}
        for text, grant in _merge(policies).items():
            if text.endswith("*") or is_segmented(text):
                pattern = _Pattern(text, grant)
                self._heads.setdefault(pattern.head, []).append(pattern)
            else:
                self._exact[text] = grant
        for patterns in self._heads.values():
            patterns.sort(key=lambda pattern: pattern.rank, reverse=True)
        self._lengths = sorted({len(head) for head in self._heads}, reverse=True)

    def allows(self, path: str, capability: str, *, sudo: bool = False) -> bool:
        """Whether `path` ("transit/encrypt/k") may be used so; with `sudo`, whether that is granted there too.

        For "list" and "scan" a trailing slash makes no difference: do not ask both ways.
        """
        if self.is_root:
            return True
        key = (path, capability, sudo)
        decision = self._memo.get(key)
        if decision is None:
            decision = self._decide(path, capability, sudo=sudo)
            if len(path) <= _MEMO_PATH:
                if len(self._memo) >= _MEMO_ENTRIES:
                    self._memo.clear()
                self._memo[key] = decision
        return decision

    def capabilities(self, path: str) -> list[str]:
        """What `sys/capabilities` answers: sorted, ["root"] or ["deny"]."""
        if self.is_root:
            return ["root"]
        grant = self._find(path, listing=True)
        return sorted(grant.granted_by) if grant and grant.granted_by else ["deny"]

    def granting(self, path: str, capability: str) -> list[str]:
        """The policies that grant it, for the audit record."""
        if self.is_root:
            return ["root"]
        grant = self._find_for(path, capability)
        return list(grant.granted_by.get(capability, ())) if grant else []

    def denying(self, path: str, capability: str) -> list[str]:
        """The policies whose explicit `deny` decides here; empty when nothing matched or merely did not grant."""
        grant = None if self.is_root else self._find_for(path, capability)
        return list(grant.granted_by.get("deny", ())) if grant else []

    def reaches(self, mount_path: str) -> bool:
        """Whether anything at or below "secret/" is granted: what `sys/internal/ui/mounts` asks."""
        if self.is_root:
            return True
        folder = mount_path.strip("/").split("/")
        return any(path.startswith(mount_path) and _grants(grant) for path, grant in self._exact.items()) or any(
            _grants(pattern.grant) and pattern.reaches(folder)
            for patterns in self._heads.values()
            for pattern in patterns
        )

    def _decide(self, path: str, capability: str, *, sudo: bool) -> bool:
        if capability not in CAPABILITIES or capability == "deny":
            return False
        grant = self._find_for(path, capability)
        return grant is not None and capability in grant.granted_by and (not sudo or "sudo" in grant.granted_by)

    def _find_for(self, path: str, capability: str) -> _Grant | None:
        """What is listed is always a folder, however it was asked for: else a slash would decide over a `deny`."""
        if capability in _LISTING:
            return self._find(path if path.endswith("/") else path + "/", listing=True)
        return self._find(path, listing=False)

    def _find(self, path: str, *, listing: bool) -> _Grant | None:
        """The grant of the pattern that decides.

        A listing of "a/" is also one of "a", which is tried first as Vault does. Unlike Vault, a `deny` that is more
        specific for "a/" (say "a/*") is not passed over then.
        """
        path = path.lstrip("/")
        exact = self._exact.get(path)
        if exact is not None or not listing or not path.endswith("/"):
            return exact or self._matching_grant(path)
        bare = path[:-1]
        exact = self._exact.get(bare)
        if exact is not None:
            return exact
        found, below = self._matching(bare), self._matching(path)
        if found is None or (below is not None and "deny" in below.grant.granted_by and below.rank > found.rank):
            found = below
        return found.grant if found else None

    def _matching_grant(self, path: str) -> _Grant | None:
        pattern = self._matching(path)
        return pattern.grant if pattern else None

    def _matching(self, path: str) -> _Pattern | None:
        segments = path.split("/")
        for length in self._lengths:
            for pattern in self._heads.get(path[:length], ()) if length <= len(path) else ():
                if pattern.matches(segments):
                    return pattern
        return None


def _merge(policies: Iterable[Policy]) -> dict[str, _Grant]:
    merged: dict[str, _Grant] = {}
    for policy in policies:
        for rule in policy.rules:
            merged.setdefault(rule.path, _Grant()).add(policy.name, rule.capabilities)
    return merged


def _grants(grant: _Grant) -> bool:
    return bool(grant.granted_by) and "deny" not in grant.granted_by


ROOT_ACL = Acl((), is_root=True)
