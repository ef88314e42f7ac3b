"""What the policies say for one pattern, and the verdict on a request that follows from it.

All blocks with the same pattern add up, except that `deny` overrides. A block whose conditions do not hold grants
nothing, but its pattern still decides (no wider one steps in), and what it denies of parameters stays denied.
"""

from collections.abc import Iterable

import msgspec

from appliance.access.conditions import depends_on_request, unmet_by_request
from appliance.access.globs import matches_any
from appliance.access.parameters import Constraints, has_constraints, merge_constraints
from appliance.access.rules import PathRule
from appliance.access.subject import Facts

_MERGED = 64  # sets of blocks that hold at once, of which the sum is kept
_SHOWN = 8  # rules that one refusal names


class RuleRef(msgspec.Struct, frozen=True, kw_only=True):
    """Where a rule stands."""

    policy: str  # with the path of its namespace: "team-a/orders"
    version: int
    line: int  # 0 in JSON policies
    path: str  # as written

    def __str__(self) -> str:
        line = f", line {self.line}" if self.line else ""
        return f'policy "{self.policy}" version {self.version}{line}, path "{self.path}"'


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why a request is refused: for operators, never for the caller."""

    kind: str  # no_rule, deny, not_granted, sudo, condition, constraint
    reason: str  # a sentence
    pattern: str = ""  # the one that decided, with its namespace's path
    rules: tuple[RuleRef, ...] = ()  # those that decided
    condition: str = ""  # what did not hold, of the first of them


class Block:
    """One path block as it counts in an access list."""

    __slots__ = ("is_conditional", "never", "policy", "rule", "version")

    def __init__(self, rule: PathRule, *, policy: str, version: int, never: str = "") -> None:
        self.rule = rule
        self.policy = policy  # with the path of its namespace
        self.version = version
        self.never = never  # why it grants nothing to whom the list is for
        self.is_conditional = bool(never) or depends_on_request(rule.conditions)

    def unmet(self, facts: Facts | None) -> str:
        """Which of its conditions does not hold; without facts all those on the request count as not held."""
        if not self.is_conditional:
            return ""
        if self.never:
            return self.never
        if facts is None or self.rule.conditions is None:
            return "it has conditions, and nothing is known of the request"
        return unmet_by_request(self.rule.conditions, facts)

    def reference(self) -> RuleRef:
        """For refusals."""
        return RuleRef(policy=self.policy, version=self.version, line=self.rule.line, path=self.rule.path)


class Verdict:
    """Whether a capability is granted at a path. Where it is conditional, `refusal` has the last word."""

    __slots__ = ("_capability", "_grant", "_refusal", "_sudo", "granted", "is_conditional", "pattern", "policies")

    def __init__(
        self,
        *,
        refusal: Refusal | None = None,
        pattern: str = "",
        policies: tuple[str, ...] = (),
        grant: "Grant | None" = None,
        capability: str = "",
        sudo: bool = False,
    ) -> None:
        self.granted = refusal is None  # for some request at least
        self.is_conditional = grant is not None
        self.pattern = pattern  # that decided, with its namespace's path; "" when none matched
        self.policies = policies  # that grant it, conditions aside, or whose deny decided
        self._refusal = refusal
        self._grant = grant
        self._capability = capability
        self._sudo = sudo

    def refusal(self, facts: Facts) -> Refusal | None:
        """Why this request is refused; None when it is allowed."""
        if self._grant is None:
            return self._refusal
        return self._grant.refusal(self._capability, facts, sudo=self._sudo)

    def granting(self, facts: Facts) -> tuple[str, ...]:
        """The policies that grant it for this request, for the audit record; none where it is refused."""
        if self._grant is None:
            return self.policies if self.granted else ()
        return () if self.refusal(facts) else self._grant.granting(self._capability, facts)


class Grant:
    """What all policies together say for one pattern."""

    __slots__ = ("_merged", "_verdicts", "blocks", "denies", "pattern")

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.blocks: list[Block] = []  # where one denies, only those that do
        self.denies = False
        self._verdicts: dict[tuple[str, bool], Verdict] = {}
        self._merged: dict[tuple[bool, ...], tuple[frozenset[str], Constraints | None]] = {}

    def add(self, block: Block) -> None:
        """One more block with this pattern."""
        denies = "deny" in block.rule.capabilities
        if denies and not self.denies:
            self.denies = True
            self.blocks.clear()
        if denies or not self.denies:
            self.blocks.append(block)

    @property
    def grants(self) -> bool:
        """Whether it grants anything to anybody whom the list is for."""
        return not self.denies and any(block.rule.capabilities and not block.never for block in self.blocks)

    def capabilities(self, facts: Facts | None) -> list[str]:
        """Sorted; ["deny"] when there are none."""
        if self.denies:
            return ["deny"]
        found = {name for block in self.blocks if not block.unmet(facts) for name in block.rule.capabilities}
        return sorted(found) or ["deny"]

    def subscribes(self, event_type: str, facts: Facts | None) -> bool:
        """Whether one of the blocks that grant `subscribe` does so for that type of event."""
        return any(
            not block.rule.subscribe_event_types or matches_any(block.rule.subscribe_event_types, event_type)
            for block in self._with("subscribe")
            if not block.unmet(facts)
        )

    def verdict(self, capability: str, *, sudo: bool) -> Verdict:
        """Made once for each capability."""
        verdict = self._verdicts.get((capability, sudo))
        if verdict is None:
            verdict = self._verdicts[capability, sudo] = self._judge(capability, sudo=sudo)
        return verdict

    def granting(self, capability: str, facts: Facts) -> tuple[str, ...]:
        """The policies whose blocks hold and grant it."""
        return _policies(block for block in self._with(capability) if not block.unmet(facts))

    def refusal(self, capability: str, facts: Facts, *, sudo: bool) -> Refusal | None:
        """Why this request is refused; None when it is allowed."""
        holding = tuple([not block.unmet(facts) for block in self.blocks])
        capabilities, constraints = self._sum(holding)
        if capability not in capabilities or (sudo and "sudo" not in capabilities):
            return self._unmet_refusal(capability if capability not in capabilities else "sudo", facts)
        if constraints is None:
            return None
        problem = constraints.violation(capability, facts.data, wrap_ttl=facts.wrap_ttl)
        if not problem:
            return None
        limiting = [block for block in self.blocks if has_constraints(block.rule)]
        return self._refusal("constraint", problem, limiting, condition=problem)

    def _sum(self, holding: tuple[bool, ...]) -> tuple[frozenset[str], Constraints | None]:
        """What the blocks that hold grant together, and under which constraints."""
        merged = self._merged.get(holding)
        if merged is None:
            pairs = list(zip(self.blocks, holding, strict=True))
            granted = frozenset(name for block, holds in pairs if holds for name in block.rule.capabilities)
            merged = granted, merge_constraints((block.rule, holds) for block, holds in pairs)
            if len(self._merged) >= _MERGED:
                self._merged.clear()
            self._merged[holding] = merged
        return merged

    def _judge(self, capability: str, *, sudo: bool) -> Verdict:
        refusal = self._refusal_of_all(capability, sudo=sudo)
        policies = _policies(self.blocks if self.denies else self._with(capability))
        if refusal is not None:
            return Verdict(refusal=refusal, pattern=self.pattern, policies=policies if self.denies else ())
        free = {name for block in self.blocks if not block.is_conditional for name in block.rule.capabilities}
        is_free = capability in free and (not sudo or "sudo" in free)
        if is_free and not self._is_constrained(capability):
            return Verdict(pattern=self.pattern, policies=policies)
        return Verdict(pattern=self.pattern, policies=policies, grant=self, capability=capability, sudo=sudo)

    def _refusal_of_all(self, capability: str, *, sudo: bool) -> Refusal | None:
        """Why no request can be allowed."""
        if self.denies:
            return self._refusal("deny", "it is denied", self.blocks)
        for name in (capability, "sudo") if sudo else (capability,):
            blocks = self._with(name)
            if not blocks:
                kind = "sudo" if sudo and name == "sudo" else "not_granted"
                return self._refusal(kind, f'the rule that decides does not grant "{name}"', self.blocks)
            if all(block.never for block in blocks):
                return self._refusal("condition", blocks[0].never, blocks, condition=blocks[0].never)
        return None

    def _is_constrained(self, capability: str) -> bool:
        _, constraints = self._sum(tuple([not block.never for block in self.blocks]))
        return constraints is not None and constraints.concerns(capability)

    def _unmet_refusal(self, missing: str, facts: Facts) -> Refusal:
        blocks = [block for block in self._with(missing) if block.unmet(facts)]
        problem = blocks[0].unmet(facts) if blocks else ""
        return self._refusal("condition", problem, blocks, condition=problem)

    def _with(self, capability: str) -> list[Block]:
        return [block for block in self.blocks if capability in block.rule.capabilities]

    def _refusal(self, kind: str, problem: str, blocks: list[Block], *, condition: str = "") -> Refusal:
        rules = tuple(block.reference() for block in blocks[:_SHOWN])
        reason = f"{rules[0]}: {problem}" if rules else problem
        return Refusal(kind=kind, reason=reason, pattern=self.pattern, rules=rules, condition=condition)


def _policies(blocks: Iterable[Block]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(block.policy for block in blocks))


NO_RULE = Verdict(refusal=Refusal(kind="no_rule", reason="no rule of its policies matches the path"))
NO_CAPABILITY = Verdict(refusal=Refusal(kind="not_granted", reason="there is no such capability to grant"))
ROOT_VERDICT = Verdict(policies=("root",))
