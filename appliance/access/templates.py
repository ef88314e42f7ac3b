"""Identity in the paths of policies: `secret/data/{{identity.entity.name}}/*`.

A value takes its place as text, so one that would change what the pattern means (`*`, `+`, `/`, a control character,
"." or "..", nothing at all) is not taken, whoever chose it. A rule that grants is left out then. A rule that denies is
not, since that would widen access: each segment that cannot be rendered becomes `+`.
"""

import re

from appliance.access.subject import AliasView, EntityView, GroupView

_EXPRESSION = re.compile(r"\{\{(.*?)\}\}")
_KNOWN = re.compile(
    r"identity\.(?:"
    r"entity\.(?:id|name|metadata\..+|aliases\.[^.]+\.(?:id|name|metadata\..+|custom_metadata\..+))"
    r"|groups\.(?:ids|names)\.[^.]+\.(?:id|name|metadata\..+))"
)
_UNSAFE = frozenset("*+/")
_MISSING = "\0"  # stands for what could not be rendered; no path of a policy holds it


def is_template(path: str) -> bool:
    """Whether the path depends on who asks."""
    return "{{" in path


def check_template(path: str) -> None:
    """Raise ValueError, with what to mend, unless every `{{…}}` in the path is one that can be resolved."""
    for expression in _EXPRESSION.findall(path):
        if not _KNOWN.fullmatch(expression.strip()):
            raise ValueError(
                "a template names identity.entity.id, name, metadata.<key> or aliases.<mount accessor>.<…>, "
                "or identity.groups.ids.<id>.<…> or names.<name>.<…>"
            )
    rest = _EXPRESSION.sub("", path)
    if "{{" in rest or "}}" in rest:
        raise ValueError("the braces of a template do not match")


def render_text(template: str, entity: EntityView) -> str | None:
    """A template outside of policies (names that a certificate may bear); None when a value is missing.

    A value that would change what the text around it means is not taken: one with `*`, a control character or a `/`.
    Where the template is nothing but the expression, a `/` means nothing else (`spiffe://…` in an entity's metadata).
    Raises ValueError for a template that cannot be one.
    """
    if not is_template(template):
        return template
    check_template(template)
    alone = _EXPRESSION.fullmatch(template) is not None and template.count("{{") == 1
    rendered = _EXPRESSION.sub(lambda found: _text(found[1].strip(), entity, is_alone=alone), template)
    return None if _MISSING in rendered else rendered


def _text(expression: str, entity: EntityView, *, is_alone: bool) -> str:
    value = _resolved(expression, entity)
    if not value or not value.isprintable() or "*" in value or ("/" in value and not is_alone):
        return _MISSING
    return value


def render_path(path: str, entity: EntityView | None, *, denies: bool) -> str | None:
    """The path for this entity; None when the rule is to be left out for it."""
    rendered = _EXPRESSION.sub(lambda found: _value(found[1].strip(), entity), path)
    if _MISSING not in rendered:
        return rendered
    return _widened(rendered) if denies else None


def _value(expression: str, entity: EntityView | None) -> str:
    value = _resolved(expression, entity) if entity is not None else None
    if not value:
        return _MISSING
    if value in {".", ".."} or not value.isprintable() or not _UNSAFE.isdisjoint(value):
        return "/".join(_MISSING for _ in value.split("/"))
    return value


def _widened(rendered: str) -> str:
    """With a wildcard for every segment that lacks something."""
    segments = rendered.split("/")
    last = segments.pop()
    if _MISSING in last:
        last = "*" if last.endswith("*") else "+"
    return "/".join([*("+" if _MISSING in segment else segment for segment in segments), last])


def _resolved(expression: str, entity: EntityView) -> str | None:
    _, kind, *rest = expression.split(".", 2)
    if not rest:
        return None
    if kind == "groups":
        return _of_groups(rest[0], entity.groups)
    selector, _, field = rest[0].partition(".")
    if selector == "aliases":
        return _of_aliases(field, entity.aliases)
    return _member(rest[0], entity)


def _of_aliases(rest: str, aliases: tuple[AliasView, ...]) -> str | None:
    accessor, _, field = rest.partition(".")
    for alias in aliases:
        if alias.mount_accessor == accessor:
            key = field.removeprefix("custom_metadata.")
            return alias.custom_metadata.get(key) if key != field else _member(field, alias)
    return None


def _of_groups(rest: str, groups: tuple[GroupView, ...]) -> str | None:
    selector, _, rest = rest.partition(".")
    wanted, _, field = rest.partition(".")
    for group in groups:
        if wanted == (group.id if selector == "ids" else group.name):
            return _member(field, group)
    return None


def _member(field: str, view: EntityView | AliasView | GroupView) -> str | None:
    if field == "id":
        return view.id
    if field == "name":
        return view.name
    key = field.removeprefix("metadata.")
    return view.metadata.get(key) if key != field else None
