"""Deciding whether a set of policies allows a request: Vault's priority rules over exact paths, `*` and `+`.

The most specific pattern that matches decides alone, across all policies (an exact path comes first, see
`pattern_index` for the others). Policies with the same pattern add up, except that `deny` overrides. Every pattern
begins with the path of its policy's namespace, so that no rule reaches out of it.
"""

from collections.abc import Iterable
from math import inf

from appliance.access.conditions import unmet_by_entity
from appliance.access.pattern_index import Pattern, PatternIndex, has_wildcard
from appliance.access.rules import CAPABILITIES, PathRule, Policy
from appliance.access.subject import EntityView, Facts
from appliance.access.templates import is_template, render_path
from appliance.access.verdicts import NO_CAPABILITY, NO_RULE, ROOT_VERDICT, Block, Grant, Verdict

_MEMO_ENTRIES = 512
_MEMO_PATH = 512  # characters; longer paths are decided anew, so that the memo stays bounded
_LISTING = frozenset({"list", "scan"})
_GRANTABLE = CAPABILITIES - {"deny"}


class Acl:
    """The access list of one set of policies, for one entity where they speak of it. Immutable but for its memo.

    It is made of pairs (path of the policy's namespace, policy), as of the moment `now` (epoch seconds): what has
    expired by then is left out, and from `until` on the list is no longer true.
    """

    __slots__ = ("_exact", "_index", "_memo", "is_root", "until")

    def __init__(
        self,
        sources: Iterable[tuple[str, Policy]],
        *,
        entity: EntityView | None = None,
        now: float = 0,
        is_root: bool = False,
    ) -> None:
        self.is_root = is_root
        self.until = inf
        self._exact: dict[str, Grant] = {}
        self._index: PatternIndex[Grant] = PatternIndex()
        self._memo: dict[tuple[str, str, bool], Verdict] = {}
        for namespace, policy in sources:
            if self._is_live(policy.expires_at, now):
                for rule in policy.rules:
                    if self._is_live(rule.expires_at, now):
                        self._add(namespace, policy, rule, entity)
        self._index_wildcards()

    def check(self, path: str, capability: str, *, sudo: bool = False) -> Verdict:
        """On `path` ("transit/encrypt/k", with its namespace); with `sudo`, that must be granted there too.

        For "list" and "scan" a trailing slash makes no difference: do not ask both ways.
        """
        if self.is_root:
            return ROOT_VERDICT
        key = (path, capability, sudo)
        verdict = self._memo.get(key)
        if verdict is None:
            verdict = self._decide(path, capability, sudo=sudo)
            if len(path) <= _MEMO_PATH:
                if len(self._memo) >= _MEMO_ENTRIES:
                    self._memo.clear()
                self._memo[key] = verdict
        return verdict

    def allows(self, path: str, capability: str, *, sudo: bool = False, facts: Facts | None = None) -> bool:
        """Whether it is allowed; what depends on the request is not without its facts."""
        if self.is_root:
            return True
        verdict = self._memo.get((path, capability, sudo)) or self.check(path, capability, sudo=sudo)
        if not verdict.is_conditional:
            return verdict.granted
        return facts is not None and verdict.refusal(facts) is None

    def subscribes(self, path: str, event_type: str, facts: Facts | None = None) -> bool:
        """Whether `subscribe` is granted there, for events of that type."""
        if not self.allows(path, "subscribe", facts=facts):
            return False
        grant = None if self.is_root else self._find(path, listing=False)
        return grant is None or grant.subscribes(event_type, facts)

    def capabilities(self, path: str, facts: Facts | None = None) -> list[str]:
        """What `sys/capabilities` answers: sorted, ["root"] or ["deny"]. Parameter rules are left aside, as in Vault.

        A block with conditions counts where they hold; without facts it does not.
        """
        if self.is_root:
            return ["root"]
        grant = self._find(path, listing=True)
        return grant.capabilities(facts) if grant else ["deny"]

    def granting(self, path: str, capability: str) -> list[str]:
        """The policies that grant it, conditions aside, for the audit record."""
        verdict = self.check(path, capability)
        return list(verdict.policies) if verdict.granted else []

    def denying(self, path: str, capability: str) -> list[str]:
        """The policies whose explicit `deny` decides here; empty when nothing matched or merely did not grant."""
        verdict = self.check(path, capability)
        return [] if verdict.granted else list(verdict.policies)

    def reaches(self, mount_path: str) -> bool:
        """Whether anything at or below "secret/" may be granted: what `sys/internal/ui/mounts` asks."""
        if self.is_root:
            return True
        folder = mount_path.strip("/").split("/")
        return any(grant.grants and path.startswith(mount_path) for path, grant in self._exact.items()) or any(
            pattern.value.grants and pattern.reaches(folder) for pattern in self._index.patterns
        )

    def granted_below(self, namespace: str, facts: Facts | None = None) -> dict[str, list[str]]:
        """Capabilities by pattern, as it reads in the namespace of that path; what cannot match there is left out."""
        grants = [*self._exact.items(), *((pattern.value.pattern, pattern.value) for pattern in self._index.patterns)]
        found = ((_as_inside(pattern, namespace), grant) for pattern, grant in grants)
        return {inside: grant.capabilities(facts) for inside, grant in found if inside is not None}

    def _is_live(self, expires_at: float | None, now: float) -> bool:
        if expires_at is None:
            return True
        if expires_at > now:
            self.until = min(self.until, expires_at)
        return expires_at > now

    def _add(self, namespace: str, policy: Policy, rule: PathRule, entity: EntityView | None) -> None:
        path: str | None = rule.path
        if is_template(rule.path):
            path = render_path(rule.path, entity, denies="deny" in rule.capabilities)
        if path is None:
            return
        pattern = namespace + path
        grant = self._exact.get(pattern)
        if grant is None:
            grant = self._exact[pattern] = Grant(pattern)
        never = unmet_by_entity(rule.conditions, entity)
        grant.add(Block(rule, policy=namespace + policy.name, version=policy.version, never=never))

    def _index_wildcards(self) -> None:
        """Move the patterns that are no exact path to the index."""
        for pattern in [pattern for pattern in self._exact if has_wildcard(pattern)]:
            self._index.add(pattern, self._exact.pop(pattern))

    def _decide(self, path: str, capability: str, *, sudo: bool) -> Verdict:
        if capability not in _GRANTABLE:
            return NO_CAPABILITY
        grant = self._find_for(path, capability)
        return grant.verdict(capability, sudo=sudo) if grant is not None else NO_RULE

    def _find_for(self, path: str, capability: str) -> Grant | None:
        """What is listed is always a folder, however it was asked for: else a slash would decide over a `deny`."""
        if capability in _LISTING:
            return self._find(path if path.endswith("/") else path + "/", listing=True)
        return self._find(path, listing=False)

    def _find(self, path: str, *, listing: bool) -> Grant | None:
        """The grant of the pattern that decides.

        A listing of "a/" is also one of "a", which is tried first as Vault does. Unlike Vault, a `deny` that is more
        specific for "a/" (say "a/*") is not passed over then.
        """
        if ".." in path and ".." in path.split("/"):
            return None  # whoever reads it as a step up would be elsewhere than where the pattern matched
        path = path.lstrip("/")
        exact = self._exact.get(path)
        if exact is not None or not listing or not path.endswith("/"):
            return exact or _value(self._index.find(path))
        bare = path[:-1]
        exact = self._exact.get(bare)
        if exact is not None:
            return exact
        found, below = self._index.find(bare), self._index.find(path)
        if found is None or (below is not None and below.value.denies and below.rank > found.rank):
            found = below
        return _value(found)


def is_templated(policy: Policy) -> bool:
    """Whether its access list depends on the entity: by a template in a path, or a condition on who asks."""
    return any(is_template(rule.path) or (rule.conditions and rule.conditions.environment) for rule in policy.rules)


def _as_inside(pattern: str, namespace: str) -> str | None:
    """What is left of a pattern below the namespace: of "+/secret/*" below "team-a/" it is "secret/*"."""
    parts = pattern.split("/")
    for segment in namespace.split("/")[:-1]:
        part = parts.pop(0)
        if not parts and part.endswith("*") and segment.startswith(part[:-1]):
            return "*"
        if not parts or part not in ("+", segment):
            return None
    return "/".join(parts)


def _value(pattern: Pattern[Grant] | None) -> Grant | None:
    return pattern.value if pattern is not None else None


ROOT_ACL = Acl((), is_root=True)
