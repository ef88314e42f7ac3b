"""What would happen: one action at one path, tried on the access list that a request would meet, without a request."""

from collections.abc import Iterable, Sequence

import msgspec

from appliance.access.acl import Acl
from appliance.access.rules import PathRule, Policy
from appliance.access.subject import EntityView, Facts
from appliance.access.templates import is_template, render_path
from appliance.access.verdicts import RuleRef, Verdict


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """Whether it is allowed, and what decided."""

    allowed: bool
    reason: str  # a sentence for operators
    kind: str  # allowed, root, no_rule, deny, not_granted, sudo, condition, constraint
    pattern: str = ""  # that decided, with its namespace's path
    condition: str = ""  # what did not hold
    is_conditional: bool = False  # conditions or parameter rules were looked at
    rules: tuple[RuleRef, ...] = ()


def try_action(
    acl: Acl,
    sources: Sequence[tuple[str, Policy]],
    *,
    path: str,
    capability: str,
    facts: Facts,
    entity: EntityView | None = None,
) -> Outcome:
    """Decide as for a request; `path` begins with the namespace. `sources` are those that `acl` was made of."""
    if acl.is_root:
        return Outcome(allowed=True, kind="root", reason='the policy "root" allows everything')
    verdict = acl.check(path, capability)
    refusal = verdict.refusal(facts)
    if refusal is not None:
        return Outcome(
            allowed=False,
            kind=refusal.kind,
            reason=refusal.reason,
            pattern=refusal.pattern,
            condition=refusal.condition,
            is_conditional=verdict.is_conditional,
            rules=refusal.rules,
        )
    rules = tuple(_granting_rules(verdict, sources, capability, facts=facts, entity=entity))
    where = str(rules[0]) if rules else f'path "{verdict.pattern}"'
    return Outcome(
        allowed=True,
        kind="allowed",
        reason=f"{where}: it grants {capability}",
        pattern=verdict.pattern,
        is_conditional=verdict.is_conditional,
        rules=rules,
    )


def _granting_rules(
    verdict: Verdict,
    sources: Iterable[tuple[str, Policy]],
    capability: str,
    *,
    facts: Facts,
    entity: EntityView | None,
) -> Iterable[RuleRef]:
    """The blocks with the pattern that decided, of the policies that grant it now."""
    granting = verdict.granting(facts)
    for namespace, policy in sources:
        name = namespace + policy.name
        for rule in policy.rules if name in granting else ():
            if capability in rule.capabilities and namespace + _rendered(rule, entity) == verdict.pattern:
                yield RuleRef(policy=name, version=policy.version, line=rule.line, path=rule.path)


def _rendered(rule: PathRule, entity: EntityView | None) -> str:
    if not is_template(rule.path):
        return rule.path
    return render_path(rule.path, entity, denies=False) or ""
