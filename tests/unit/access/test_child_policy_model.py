"""The policies of a child against Vault's rules, transcribed from its token store as plainly as they stand there."""

import re

from hypothesis import given
from hypothesis import strategies as st

from appliance.access.child_tokens import CreateBody, Grounds, child_of
from appliance.access.globs import matches
from appliance.access.token_entry import TokenEntry
from appliance.access.token_roles import TokenRole
from core.errors import InvalidRequestError


class RefusedError(Exception):
    pass


def sanitize(names, add_default):
    names = [name.strip().lower() for name in names]
    if "root" in names:
        return ["root"]
    if add_default and "default" not in names:
        names.append("default")
    return sorted(set(names))


def glob(patterns, name):
    return any(re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name) for pattern in patterns)


def by_role(wanted, parent, role, no_default):
    add = (
        not no_default
        and not role.token_no_default_policy
        and "default" not in role.disallowed_policies
        and not glob(role.disallowed_policies_glob, "default")
    )
    final = sanitize(wanted, add) if wanted else []
    if role.allowed_policies or role.allowed_policies_glob:
        allowed = sanitize(role.allowed_policies, add)
        if not final:
            final = allowed
        else:
            for name in final:
                if name not in allowed and not glob(role.allowed_policies_glob, name):
                    raise RefusedError
    elif not final:
        final = sanitize(parent, add)
    for name in final:
        if name in role.disallowed_policies or glob(role.disallowed_policies_glob, name):
            raise RefusedError
    return final


def model(wanted, parent, role, *, is_sudo, no_default, crosses):
    if crosses and (not is_sudo or "root" in wanted):
        raise RefusedError
    if role is not None and role.lists_policies:
        names, add = by_role(wanted, parent, role, no_default), False
    elif crosses:
        names, add = wanted, not no_default
    elif not wanted:
        names, add = parent, False
    elif not is_sudo:
        if not set(sanitize(wanted, False)) <= set(parent):
            raise RefusedError
        names, add = wanted, not no_default and "default" in parent
    else:
        names, add = wanted, not no_default
    final = sanitize(names, add)
    if no_default or (role and not role.lists_policies and role.token_no_default_policy):  # the latter is ours
        final = [name for name in final if name != "default"]
    if "response-wrapping" in final or ("root" in final and ("root" not in parent or crosses)):
        raise RefusedError
    return tuple(final)


NAMES = st.sampled_from(["a", "ab", "b", "Default", "default", "root", "response-wrapping"])
GLOBS = st.sampled_from(["*", "a*", "*b", "d*t", "a*b", "r*", "x", "*a*"])


def lists(elements):
    return st.lists(elements, max_size=3)


@st.composite
def roles(draw):
    lower = NAMES.map(str.lower)
    return TokenRole(
        name="r",
        allowed_policies=tuple(draw(lists(lower))),
        disallowed_policies=tuple(draw(lists(lower))),
        allowed_policies_glob=tuple(draw(lists(GLOBS))),
        disallowed_policies_glob=tuple(draw(lists(GLOBS))),
        token_no_default_policy=draw(st.booleans()),
    )


@given(
    wanted=lists(NAMES),
    held=lists(st.sampled_from(["a", "ab", "b", "default"])) | st.just(["root"]),
    role=st.none() | roles(),
    is_sudo=st.booleans(),
    no_default=st.booleans(),
    crosses=st.booleans(),
)
def test_policies_are_given_and_refused_as_vault_does(wanted, held, role, is_sudo, no_default, crosses):
    parent = tuple(sorted(set(held)))
    grounds = Grounds(
        parent=TokenEntry(record_id="0", accessor="", policies=parent, path="", issue_time=0),
        path="auth/token/create", namespace="abc123" if crosses else "root", is_sudo=is_sudo, role=role,
    )  # fmt: skip
    try:
        expected = model(wanted, parent, role, is_sudo=is_sudo, no_default=no_default, crosses=crosses)
    except RefusedError:
        expected = None
    try:
        made = child_of(CreateBody(policies=wanted, no_default_policy=no_default), grounds).spec.policies
    except InvalidRequestError:
        made = None
    assert made == expected
    if made is not None and "root" in made:
        assert "root" in parent


@given(st.text("ab*", max_size=8), st.text("ab*\n", max_size=8))
def test_globs_match_as_a_regular_expression_would(pattern, name):
    plain = re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)
    assert matches(pattern, name) == bool(plain.fullmatch(name))
