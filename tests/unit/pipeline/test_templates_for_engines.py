"""Identity templates in an engine's configuration: what is filled in, and which values are never taken."""

import pytest

from appliance.access.subject import AliasView, EntityView
from appliance.pipeline.identity import EntityTemplates
from core.errors import InvalidRequestError

METADATA = {"team": "payments", "id": "spiffe://example.org/web", "star": "a*", "path": "x/y", "odd": "a\0b", "no": ""}
ANN = EntityTemplates(
    EntityView(
        id="e-1",
        name="ann",
        metadata=METADATA,
        aliases=(AliasView(id="a-1", name="ann+web@corp.example", mount_accessor="auth_1"),),
    )
)


@pytest.mark.parametrize(
    ("template", "rendered"),
    [
        ("example.com", "example.com"),
        ("{{identity.entity.name}}.example.com", "ann.example.com"),
        ("{{ identity.entity.metadata.team }}.{{identity.entity.name}}", "payments.ann"),
        ("{{identity.entity.aliases.auth_1.name}}", "ann+web@corp.example"),
        ("{{identity.entity.metadata.id}}", "spiffe://example.org/web"),
    ],
)
def test_what_is_filled_in(template: str, rendered: str) -> None:
    assert ANN.render(template) == rendered


@pytest.mark.parametrize(
    "template",
    [
        "{{identity.entity.metadata.none}}.example.com",
        "{{identity.entity.metadata.no}}.example.com",
        "{{identity.entity.metadata.star}}.example.com",
        "spiffe://example.org/{{identity.entity.metadata.path}}",
        "{{identity.entity.metadata.path}}{{identity.entity.metadata.team}}",
        "{{identity.entity.metadata.odd}}",
        "{{identity.groups.names.ops.name}}.example.com",
    ],
)
def test_a_value_that_is_missing_or_means_more_than_a_name_is_not_filled_in(template: str) -> None:
    assert ANN.render(template) is None


@pytest.mark.parametrize("template", ["{{identity.entity.shoe_size}}", "{{identity.entity.name", "{{x}}", "a}}{{"])
def test_what_cannot_be_a_template_is_said(template: str) -> None:
    with pytest.raises(InvalidRequestError, match="template"):
        ANN.render(template)
