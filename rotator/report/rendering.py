"""Templates to text: every value is escaped, a missing one is an error, and a page names its own script and style."""

from __future__ import annotations

import base64
import hashlib

from jinja2 import Environment, PackageLoader, StrictUndefined


def make_environment() -> Environment:
    """Return the environment of all pages."""
    return Environment(
        loader=PackageLoader("rotator.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def make_policy(environment: Environment, script: str, style: str) -> str:
    """Return a content security policy that allows the script and the style of these templates, and nothing else."""
    own = {name: hash_source(environment, name) for name in (script, style)}
    return (
        f"default-src 'none'; script-src {own[script]}; style-src {own[style]}; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def hash_source(environment: Environment, name: str) -> str:
    """Return the source expression by which a policy allows exactly the text of a template."""
    text = environment.get_template(name).render()
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
