"""Access lists against a model that is written straight from Vault's priority rules, with nothing clever in it."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from appliance.access.acl import Acl
from appliance.access.rules import PathRule, Policy

ORDER = ("deny", "list", "read", "sudo")


def is_segmented(pattern):
    return pattern == "+" or "/+" in pattern or pattern.startswith("+/")


def matches(pattern, path):
    """Segment by segment."""
    glob = pattern.endswith("*")
    body = pattern[:-1] if glob else pattern
    if not is_segmented(pattern):
        return path.startswith(body) if glob else path == body
    wanted, given_ = body.split("/"), path.split("/")
    if glob:
        *wanted, last = wanted
        if len(given_) <= len(wanted) or not given_[len(wanted)].startswith(last):
            return False
        given_ = given_[: len(wanted)]
    return len(wanted) == len(given_) and all(w in ("+", g) for w, g in zip(wanted, given_, strict=True))


def is_lower(one, other):
    """The five sentences of Vault's documentation."""
    stem, stem_of_other = one.removesuffix("*"), other.removesuffix("*")

    def first(pattern):
        return pattern.index("+") if is_segmented(pattern) else len(pattern.removesuffix("*"))

    if first(one) != first(other):
        return first(one) < first(other)
    if one.endswith("*") != other.endswith("*"):
        return one.endswith("*")
    if one.split("/").count("+") != other.split("/").count("+"):
        return one.split("/").count("+") > other.split("/").count("+")
    if len(stem) != len(stem_of_other):
        return len(stem) < len(stem_of_other)
    return stem < stem_of_other


def exact(rules, path):
    return path if any(p == path and not p.endswith("*") and not is_segmented(p) for p, _ in rules) else None


def best(rules, path):
    """Of the patterns with wildcards that match, the one that no other beats."""
    top = None
    for pattern, _ in rules:
        has_wildcard = pattern.endswith("*") or is_segmented(pattern)
        if has_wildcard and matches(pattern, path) and (top is None or is_lower(top, pattern)):
            top = pattern
    return top


def granted(rules, pattern):
    """What all rules with this pattern grant together; None where one denies."""
    found = {capability for p, capabilities in rules if p == pattern for capability in capabilities}
    return None if "deny" in found else found


def deciding(rules, path, *, listing):
    if not listing:
        return exact(rules, path) or best(rules, path)
    folder = path if path.endswith("/") or not path else path + "/"  # the empty path is no folder
    bare = folder.removesuffix("/")
    certain = exact(rules, folder) or exact(rules, bare)
    if certain is not None:
        return certain
    found, below = best(rules, bare), best(rules, folder)
    denied_below = below is not None and granted(rules, below) is None  # stricter than Vault
    return below if found is None or (denied_below and is_lower(found, below)) else found


def allows(rules, path, capability, *, sudo):
    pattern = deciding(rules, path, listing=capability == "list")
    found = granted(rules, pattern) if pattern is not None else None
    return found is not None and capability in found and (not sudo or "sudo" in found)


segment = st.sampled_from(["a", "b", "ab", "+", "+", "", "+b", "a+", "ü", "x*y"])
patterns = st.builds(
    lambda parts, glob: ("/".join(parts) + glob).replace("+*", "+/*").lstrip("/"),
    st.lists(segment, min_size=1, max_size=5),
    st.sampled_from(["", "", "*"]),
).filter(bool)
paths = st.lists(st.sampled_from(["a", "b", "ab", "abc", "", "+b", "ü", "x*y", "+"]), min_size=1, max_size=6).map(
    lambda parts: "/".join(parts).lstrip("/")
)
blocks = st.lists(
    st.tuples(
        patterns, st.sampled_from([("read",), ("list",), ("list", "read", "sudo"), ("sudo",), ("deny",), (), ("read",)])
    ),
    max_size=6,
)


def build(policies, prefix=""):
    return Acl(
        (prefix, Policy(name=f"p{i}", text="", rules=tuple(PathRule(path=p, capabilities=c) for p, c in rules)))
        for i, rules in enumerate(policies)
    )


@settings(max_examples=400)
@given(st.lists(blocks, max_size=4), paths, st.sampled_from(["read", "list"]), st.booleans())
@example([[("a/+", ("read",))], [("a/*", ("deny",))]], "a/b", "read", False)
@example([[("+/a", ("read",)), ("+/+", ("deny",))]], "b/a", "read", False)
@example([[("a/*", ("list",)), ("a/b/*", ("deny",))]], "a/b", "list", False)
@example([[("a/+b", ("read",)), ("a/*", ("deny",))]], "a/+b", "read", False)
@example([[("+/+", ("list",))]], "", "list", False)
def test_decisions_agree_with_the_model(policies, path, capability, sudo):
    rules = [rule for policy in policies for rule in policy]
    assert build(policies).allows(path, capability, sudo=sudo) is allows(rules, path, capability, sudo=sudo)


@given(st.lists(blocks, max_size=3), paths, st.sampled_from(["read", "list"]))
def test_a_namespace_is_its_prefix_on_every_pattern(policies, path, capability):
    rules = [("team-a/" + pattern, capabilities) for policy in policies for pattern, capabilities in policy]
    inside = build(policies, "team-a/")
    assert inside.allows("team-a/" + path, capability) is allows(rules, "team-a/" + path, capability, sudo=False)
    for outside in (path, "team-b/" + path, "team-a" + path.replace("/", "")):
        if not (outside + "/").startswith("team-a/"):
            assert not inside.allows(outside, capability)


@given(st.lists(blocks, min_size=1, max_size=4), paths, st.sampled_from(["read", "list"]), st.randoms())
def test_the_order_of_policies_does_not_matter(policies, path, capability, random):
    shuffled = random.sample(policies, len(policies))
    assert build(policies).allows(path, capability) is build(shuffled).allows(path, capability)


@given(st.lists(blocks, max_size=3), patterns, paths, st.sampled_from(["read", "list"]))
def test_one_more_deny_never_allows_more_at_its_own_pattern(policies, pattern, path, capability):
    denied = build([*policies, [(pattern, ("deny",))]])
    if matches(pattern, path):
        allowed_before = build(policies).allows(path, capability)
        assert allowed_before or not denied.allows(path, capability)


@given(st.lists(blocks, max_size=3), st.sampled_from(["a/", "b/", "a/b/", "ab/"]), paths)
def test_what_is_allowed_below_a_mount_reaches_it(policies, mount, rest):
    built = build(policies)
    if built.allows(mount + rest, "read"):
        assert built.reaches(mount)
