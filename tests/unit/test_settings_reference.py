"""What is generated from the models, and the templates, stay right."""

from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from rotator.errors import ConfigError
from rotator.settings.load import check_files, load_policy, load_settings
from rotator.settings.reference import policy_schema, render_reference, settings_schema
from rotator.settings.templates import PLACEHOLDERS, fill_template, load_template

VALUES = {
    "account": "build-bot",
    "tenant": "6f89cf12-978b-4d23-ac18-9ef0c127cf87",
    "client_id": "3f7a1c52-8d44-4be6-9a0e-51c2d7e8b906",
    "username": "build-bot@contoso.com",
    "organizations": ["contoso", "123", "true"],
    "vault": "https://contoso-kv.vault.azure.net",
    "public_key": "GDd5Lf9FSVgwJgrMEEJEnU+PUZqC4+Sm8f6h2sK0vBk=",
}
SCHEMAS = {"rotator.yaml": settings_schema, "policy.yaml": policy_schema}


def test_reference_page_is_up_to_date() -> None:
    assert load_template("README.md") == render_reference()


@pytest.mark.parametrize("name", SCHEMAS)
def test_schema_explains_every_key(name: str) -> None:
    schema = SCHEMAS[name]()
    Draft202012Validator.check_schema(schema)
    definitions = schema["$defs"]
    assert isinstance(definitions, dict)
    unexplained = [
        key
        for section in (schema, *definitions.values())
        for key, part in section["properties"].items()
        if "description" not in part and "$ref" not in part
    ]
    assert unexplained == []
    assert all(section["description"] for section in definitions.values())


@pytest.mark.parametrize("name", SCHEMAS)
def test_schema_accepts_the_template_and_refuses_unknown_keys(name: str) -> None:
    document = yaml.safe_load(fill_template(load_template(name), VALUES))
    validator = Draft202012Validator(SCHEMAS[name]())
    assert list(validator.iter_errors(document)) == []
    assert list(validator.iter_errors({**document, "unknown": 1})) != []


def test_schema_accepts_every_example_that_it_gives() -> None:
    for schema in (settings_schema(), policy_schema()):
        definitions = schema["$defs"]
        assert isinstance(definitions, dict)
        for section in (schema, *definitions.values()):
            for key, part in section["properties"].items():
                for example in part.get("examples", []):
                    validator = Draft202012Validator({**part, "$defs": definitions})
                    assert list(validator.iter_errors(example)) == [], key


def test_templates_load_when_filled(tmp_path: Path) -> None:
    for name in SCHEMAS:
        (tmp_path / name).write_text(fill_template(load_template(name), VALUES))
    assert check_files(tmp_path / "rotator.yaml") == []
    settings = load_settings(tmp_path / "rotator.yaml")
    assert settings.accounts[0].organizations == ("contoso", "123", "true")
    assert [rule.name for rule in load_policy(settings.policy).rules] == ["hands-off", "everything-else"]


def test_templates_are_right_when_every_comment_that_is_a_setting_is_used(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(fill_template(load_template("policy.yaml"), VALUES))
    text = fill_template(load_template("rotator.yaml"), VALUES)
    _, _, defaults = text.partition("change only what has to be different.\n#\n")
    (tmp_path / "rotator.yaml").write_text(text + "\n".join(line[2:] for line in defaults.splitlines()))
    assert check_files(tmp_path / "rotator.yaml") == []
    shown, plain = load_settings(tmp_path / "rotator.yaml"), tmp_path / "plain.yaml"
    plain.write_text(text)
    assert shown.http == load_settings(plain).http
    assert shown.rotation == load_settings(plain).rotation
    assert shown.entra == load_settings(plain).entra
    assert shown.azure_devops == load_settings(plain).azure_devops


def test_templates_say_what_to_fill_in_when_they_are_used_as_they_are(tmp_path: Path) -> None:
    for name in SCHEMAS:
        (tmp_path / name).write_text(load_template(name))
    found = "\n".join(check_files(tmp_path / "rotator.yaml"))
    for key in ("tenant", "client_id", "username", "vault", "public_key"):
        assert f'"{PLACEHOLDERS[key]}"' in found


def test_template_is_refused_when_there_is_none_of_that_name() -> None:
    with pytest.raises(ConfigError, match="lacks the template"):
        load_template("other.yaml")
