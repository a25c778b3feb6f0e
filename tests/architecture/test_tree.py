"""What must not be named anywhere in the tree: package registries' hosts, and one machine's paths."""

import re

import pytest

from tests.support.source_tree import ROOT, list_files

# Put together from pieces, so that this file does not name them.
_FORBIDDEN = re.compile(
    "|".join(
        [
            "py" + r"pi\.org",
            "python" + r"hosted\.",
            "registry" + r"\.npmjs",
            "deb" + r"\.debian\.org",
            "conda" + r"\.anaconda",
            "--(extra-)?index" + "-url",
            "/ro" + "ot/",
            "/wo" + "rk/",
            "/ho" + r"me/\w",
            "/tm" + r"p/\w",
        ]
    )
)


def _find_forbidden(text: str) -> list[str]:
    return [line.strip()[:120] for line in text.splitlines() if _FORBIDDEN.search(line)]


def test_tree_names_no_registry_and_no_machine_path() -> None:
    texts = {path: path.read_bytes().decode("utf-8", errors="replace") for path in list_files()}
    assert {
        str(path.relative_to(ROOT)): found for path, text in texts.items() if (found := _find_forbidden(text))
    } == {}


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_requirements_pin_every_release_by_hash(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    pinned = re.compile(r"[a-z0-9-]+==[\w.]+( ; [^-]+)?(\s+--hash=sha256:[0-9a-f]{64})+\s*")
    assert lines
    assert [line[:60] for line in lines if not pinned.fullmatch(line)] == []


@pytest.mark.parametrize(
    "line",
    [
        "see https://py" + "pi.org/simple",
        "cd /wo" + "rk/main",
        "--index" + "-url x",
        "log in /tm" + "p/x.log",
    ],
)
def test_forbidden_name_is_found_when_inside_a_line(line: str) -> None:
    assert _find_forbidden(f"first\n  {line}\n") == [line]
