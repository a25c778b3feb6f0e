"""The pages that a person sees at the Entra stand-in: enter the code, choose a user, approve or deny."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape

from rotator.sandbox.world import User

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; background: #eef1f5; color: #1b1f24; margin: 0; }
main { max-width: 30rem; margin: 8vh auto; background: #fff; padding: 2rem 2.5rem; border-radius: 10px;
       box-shadow: 0 2px 14px rgba(20, 30, 50, .12); }
h1 { font-size: 1.35rem; margin: 0 0 .75rem; }
label { display: block; margin-top: 1rem; font-weight: 600; }
input[type=text], select { width: 100%; box-sizing: border-box; font: inherit; padding: .5rem; }
input[name=user_code] { font-family: ui-monospace, monospace; letter-spacing: .15em; }
label.tick { font-weight: 400; }
button { font: inherit; padding: .5rem 1.4rem; margin: 1.5rem .5rem 0 0; border: 0; border-radius: 6px;
         cursor: pointer; background: #d7dde5; }
button.main { background: #0b5cad; color: #fff; }
.note { color: #57606a; font-size: .875rem; border-top: 1px solid #d7dde5; margin-top: 1.75rem;
        padding-top: .75rem; }
"""


def render_page(title: str, content: str) -> str:
    """Make a whole page around `content`, which is HTML already."""
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head>\n<body><main><h1>{escape(title)}</h1>\n{content}\n"
        '<p class="note">This is the sandbox of rotator, a stand-in on this computer: no password needed, '
        "nothing leaves the machine.</p></main></body></html>\n"
    )


def render_device_page(user_code: str, users: Iterable[User]) -> str:
    """Make the form for a device code: the code, the user, approve or deny."""
    return render_page(
        "Sign in on another device",
        "<p>A program on a computer without a browser wants to act for you. Enter the code that it shows.</p>"
        '<form method="post"><label>Code<input type="text" name="user_code" autocomplete="off" required '
        f'value="{escape(user_code, quote=True)}"></label>{_render_user_choice(users, "")}'
        f"{_render_second_factor(ticked=False)}{_render_buttons()}</form>",
    )


def render_authorize_page(app_id: str, scope: str, users: Iterable[User], hidden: Mapping[str, str]) -> str:
    """Make the form for a browser sign-in; `hidden` keeps the request's parameters in it."""
    wanted = "".join(f"<li><code>{escape(word)}</code></li>" for word in scope.split())
    carried = "".join(
        f'<input type="hidden" name="{escape(name, quote=True)}" value="{escape(value, quote=True)}">'
        for name, value in hidden.items()
    )
    return render_page(
        "Sign in",
        f"<p>The application <code>{escape(app_id)}</code> wants to sign you in and asks for:</p>"
        f"<ul>{wanted}</ul>"
        f'<form method="post">{carried}{_render_user_choice(users, hidden.get("login_hint", ""))}'
        f"{_render_second_factor(ticked=True)}{_render_buttons()}</form>",
    )


def render_form_post(redirect_uri: str, fields: Mapping[str, str]) -> str:
    """Make a page that posts the answer to the redirect address, by itself or by a button."""
    carried = "".join(
        f'<input type="hidden" name="{escape(name, quote=True)}" value="{escape(value, quote=True)}">'
        for name, value in fields.items()
    )
    return render_page(
        "One moment",
        f'<form method="post" action="{escape(redirect_uri, quote=True)}">{carried}'
        '<p>Taking you back to the application.</p><button class="main">Continue</button></form>'
        "<script>document.forms[0].submit()</script>",
    )


def render_message(title: str, sentence: str) -> str:
    """Make a page with one message."""
    return render_page(title, f"<p>{escape(sentence)}</p>")


def _render_user_choice(users: Iterable[User], hint: str) -> str:
    options = "".join(
        f'<option value="{escape(user.username, quote=True)}"'
        f"{' selected' if user.username.casefold() == hint.casefold() else ''}>"
        f"{escape(user.display_name)} ({escape(user.username)})</option>"
        for user in users
    )
    return f'<label>Sign in as<select name="username">{options}</select></label>'


def _render_second_factor(ticked: bool) -> str:
    mark = " checked" if ticked else ""
    return (
        # An unticked box sends nothing: then the hidden field counts.
        '<input type="hidden" name="second_factor" value="no">'
        f'<label class="tick"><input type="checkbox" name="second_factor" value="yes"{mark}> '
        "I confirm with a second factor</label>"
    )


def _render_buttons() -> str:
    return (
        '<button class="main" name="action" value="approve">Approve</button>'
        '<button name="action" value="deny">Deny</button>'
    )
