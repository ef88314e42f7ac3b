"""What is probably wrong with a policy that is right by its grammar.

Nothing here matches patterns by itself: which rule decides is asked of the access list that requests are checked by,
with paths made up for each rule.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal

import msgspec

from appliance.access.acl import Acl
from appliance.access.rules import PathRule, Policy

Severity = Literal["error", "warning", "hint"]

_FRESH = "~made-up~"  # a segment that no rule names
_ALWAYS_MOUNTED = ("sys/", "auth/token/", "identity/", "cubbyhole/")
_KV2_FOLDERS = frozenset(
    {"data", "metadata", "delete", "undelete", "destroy", "config", "subkeys", "detailed-metadata"}
)
_LISTING = frozenset({"list", "scan"})
# What makes its holder as good as root: the path, the capability, whether it takes sudo, and the sentence.
_POWERS = (
    ("sys/policies/acl/" + _FRESH, "update", False, "write any policy, also its own"),
    ("sys/policy/" + _FRESH, "update", False, "write any policy, also its own"),
    ("auth/token/create", "update", True, "make tokens with any policy"),
    ("identity/entity/id/" + _FRESH, "update", False, "give any policy to any entity"),
    ("sys/auth/" + _FRESH, "update", True, "enable login methods"),
    ("sys/raw/" + _FRESH, "update", True, "change stored entries"),
)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to look at. `line` is 0 where it is not known (JSON)."""

    line: int
    severity: Severity
    rule: str  # a word for it: "shadowed"
    path: str
    message: str


class MountView(msgspec.Struct, frozen=True, kw_only=True):
    """What is mounted, as far as policies care: path "secret/", type, kv's version ("" elsewhere)."""

    path: str
    type: str
    version: str = ""


def lint_rules(
    rules: Sequence[PathRule], *, mounts: Sequence[MountView] | None = None, namespace: str = "", now: float = 0
) -> list[Finding]:
    """The findings by line. Without `mounts` nothing is said of what is mounted; `namespace` is the policy's path.

    `now` is in epoch seconds; with 0 nothing is said of what has expired.
    """
    decides = _deciding(rules)
    checks: tuple[Callable[[PathRule], Iterator[Finding]], ...] = (
        _check_spelling,
        _check_capabilities,
        _check_breadth,
        lambda rule: _check_namespace(rule, namespace),
        lambda rule: _check_expiry(rule, now),
        lambda rule: _check_shadowed(rule, decides),
        lambda rule: _check_mount(rule, mounts),
    )
    found = [finding for rule in rules for check in checks for finding in check(rule)]
    return sorted([*found, *_check_twins(rules)], key=lambda finding: finding.line)


def _finding(rule: PathRule, severity: Severity, word: str, message: str) -> Finding:
    return Finding(line=rule.line, severity=severity, rule=word, path=rule.path, message=message)


# --- one rule by itself -------------------------------------------------------------------------------------------


def _check_spelling(rule: PathRule) -> Iterator[Finding]:
    """Paths that no request has."""
    path, segments = rule.path, rule.path.split("/")
    if "//" in path:
        yield _finding(rule, "error", "never-matches", "no path has two slashes in a row, so this rule allows nothing")
    if {".", ".."} & set(segments):
        yield _finding(rule, "error", "never-matches", 'no path has "." or ".." as a segment, so this never matches')
    if segments[0] == "v1" and len(segments) > 1:
        yield _finding(rule, "error", "never-matches", f'paths are written without "v1/": write "{path[3:]}"')
    if path != path.strip():
        yield _finding(rule, "warning", "blank", "the path begins or ends with a blank, which requests do not have")
    if "*" in path[:-1]:
        yield _finding(
            rule,
            "warning",
            "literal-star",
            '"*" is a wildcard at the end only; elsewhere write "+" for one segment',
        )
    if any("+" in segment and segment != "+" for segment in segments):
        yield _finding(
            rule, "hint", "literal-plus", '"+" is a wildcard as a whole segment only; here it is a plain plus'
        )
    used = set(rule.capabilities)
    if path.endswith("/") and used and "deny" not in used and not used <= _LISTING:
        yield _finding(
            rule,
            "warning",
            "trailing-slash",
            f'a path with a slash at its end is only listed; for the others write "{path.rstrip("/")}" or "{path}*"',
        )


def _check_capabilities(rule: PathRule) -> Iterator[Finding]:
    if not rule.capabilities:
        yield _finding(
            rule,
            "warning",
            "no-capabilities",
            "this grants nothing, and takes away what a wider rule grants; where that is meant, write deny",
        )
    if rule.capabilities == ("sudo",):
        yield _finding(rule, "warning", "sudo-alone", "sudo does nothing without read, update or another capability")


def _check_breadth(rule: PathRule) -> Iterator[Finding]:
    """Rules with a wildcard that give more than they seem to."""
    used = set(rule.capabilities)
    if "deny" in used or not (rule.path.endswith("*") or "+" in rule.path.split("/")):
        return
    alone = _list_of([rule])
    powers = dict.fromkeys(
        sentence
        for path, capability, sudo, sentence in _POWERS
        if alone.allows(path, capability) and (not sudo or alone.allows(path, "sudo"))
    )
    if powers:
        yield _finding(rule, "warning", "as-good-as-root", f"this lets its holder {', and '.join(powers)}")
    elif rule.path.strip("/") in {"*", "+", "+/*", "+/+"} and used:
        yield _finding(rule, "warning", "over-broad", "this reaches every engine, those mounted later included")
    if "sudo" in used and not rule.path.startswith(("sys/", "auth/", "*", "+")):
        yield _finding(
            rule, "warning", "needless-sudo", "sudo is asked for below sys/ and auth/ only; leave it out here"
        )


def _check_namespace(rule: PathRule, namespace: str) -> Iterator[Finding]:
    if namespace and rule.path.startswith(namespace):
        yield _finding(
            rule,
            "warning",
            "namespace",
            f'the paths of this policy are already below "{namespace}": write "{rule.path.removeprefix(namespace)}"',
        )


def _check_expiry(rule: PathRule, now: float) -> Iterator[Finding]:
    if rule.expires_at is not None and rule.expires_at <= now:
        yield _finding(rule, "warning", "expired", "this has expired and counts for nothing; take it out")


# --- rules beside each other --------------------------------------------------------------------------------------


def _list_of(rules: Iterable[PathRule]) -> Acl:
    return Acl([("", Policy(name="lint", text="", rules=tuple(rules)))])


def _deciding(rules: Sequence[PathRule]) -> Callable[[str, str], str]:
    """Which pattern decides about a path, if all rules grant the same."""
    plain = [PathRule(path=rule.path, capabilities=("read", "list"), line=rule.line) for rule in rules]
    acl = _list_of(plain)
    return lambda path, capability: acl.check(path, capability).pattern


def _check_shadowed(rule: PathRule, decides: Callable[[str, str], str]) -> Iterator[Finding]:
    """A rule that never decides: for every path made up for it another one of the policy does."""
    if "//" in rule.path or "{{" in rule.path:
        return
    winners = {decides(path, "read") for path in _examples(rule.path)}
    if rule.path not in winners:
        winner = min(winners)
        yield _finding(
            rule, "warning", "shadowed", f'this never decides: "{winner}" goes before it, wherever both match'
        )


def _examples(pattern: str) -> list[str]:
    """Paths that only this pattern and wider ones match."""
    whole = "/".join(_FRESH if segment == "+" else segment for segment in pattern.removesuffix("*").split("/"))
    if not pattern.endswith("*"):
        return [whole]
    return [whole, whole + _FRESH, *(whole + _FRESH + f"/{_FRESH}" * depth for depth in (1, 2, 3, 8, 20))]


def _check_twins(rules: Sequence[PathRule]) -> Iterator[Finding]:
    first: dict[str, PathRule] = {}
    for rule in rules:
        twin = first.setdefault(rule.path, rule)
        if twin is rule:
            continue
        where = f"in line {twin.line}" if twin.line else "above"
        if "deny" in {*twin.capabilities, *rule.capabilities} and twin.capabilities != rule.capabilities:
            message = f"this path stands {where} too, and one of the two denies: then both do"
        else:
            message = f"this path stands {where} too; what both say is added up, so make them one"
        yield _finding(rule, "warning", "duplicate", message)


# --- what is mounted ----------------------------------------------------------------------------------------------


def _check_mount(rule: PathRule, mounts: Sequence[MountView] | None) -> Iterator[Finding]:
    if mounts is None:
        return
    head = _literal_head(rule.path)
    mount = max((m for m in mounts if head.startswith(m.path)), key=lambda m: len(m.path), default=None)
    if mount is not None:
        yield from _check_kv2(rule, mount)
        return
    paths = [*_ALWAYS_MOUNTED, *(m.path for m in mounts)]
    is_known = any(path.startswith(head) or head.startswith(path) or rule.path + "/" == path for path in paths)
    if not is_known:
        yield _finding(rule, "warning", "unknown-mount", "no engine or login method is mounted there")


def _literal_head(pattern: str) -> str:
    """What stands before the first wildcard or template."""
    segments = pattern.removesuffix("*").split("/")
    cut = next((i for i, segment in enumerate(segments) if segment == "+"), len(segments))
    head = "/".join([*segments[:cut], ""]) if cut < len(segments) else "/".join(segments)
    return head.partition("{{")[0]


def _check_kv2(rule: PathRule, mount: MountView) -> Iterator[Finding]:
    """Kv version 2 has its paths below data/ and metadata/; the paths people see in the command line have neither."""
    if mount.type != "kv" or mount.version != "2":
        return
    rest = rule.path.removeprefix(mount.path)
    folder, slash, below = rest.partition("/")
    if folder in {"", "*", "+"} or (not slash and folder.endswith("*") and _begins_a_folder(folder[:-1])):
        return
    if folder not in _KV2_FOLDERS:
        yield _finding(
            rule,
            "error",
            "kv2-data",
            f'{mount.path} is kv version 2, where this matches nothing: write "{mount.path}data/{rest}"'
            f' (to list: "{mount.path}metadata/{rest}")',
        )
    elif folder == "data" and _LISTING & set(rule.capabilities):
        yield _finding(
            rule,
            "warning" if set(rule.capabilities) <= _LISTING else "hint",
            "kv2-list",
            f'of kv version 2 the keys are listed at "{mount.path}metadata/{below}", not below data/',
        )


def _begins_a_folder(text: str) -> bool:
    return any(folder.startswith(text) for folder in _KV2_FOLDERS)
