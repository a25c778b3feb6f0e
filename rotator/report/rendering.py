"""Templates to text: every value is escaped, a missing one is an error, and a page names its own script and style."""

from __future__ import annotations

import base64
import hashlib

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from rotator.domain.outside import show_hidden


def make_environment(*, shows_hidden: bool = False) -> Environment:
    """Return the environment of all pages; `shows_hidden`: every value as by `show_hidden`."""
    return Environment(
        loader=PackageLoader("rotator.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_show_hidden if shows_hidden else None,
    )


def show_lines(text: str) -> Markup:
    """Return text of several lines, harmless: what would hide in it is seen."""
    return Markup.escape(show_hidden(text, keep="\n\t"))


def _show_hidden(value: object) -> object:
    """No value turns the text around it, whoever wrote it. Markup was looked at where it was made."""
    return show_hidden(value) if type(value) is str else value


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
