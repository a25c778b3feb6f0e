"""Looks at an answer of Key Vault before the Azure library reads it: that one makes text of whatever it finds."""

from __future__ import annotations

from azure.core.pipeline import PipelineResponse
from azure.core.rest import HttpResponse


def check_answer(response: PipelineResponse[object, HttpResponse]) -> None:
    """ValueError when the answer holds something else where a secret's value, id or tags belong."""
    if response.http_response.status_code >= 300:
        return
    document = response.http_response.json() if response.http_response.content else {}
    if not isinstance(document, dict):
        raise ValueError("an answer that is not an object")
    page = document.get("value")
    entries = page if isinstance(page, list) else [document]
    if not all(_is_sound(entry) for entry in entries):
        raise ValueError("an answer that is not a secret's")


def _is_sound(entry: object) -> bool:
    if not isinstance(entry, dict):
        return False
    tags = entry.get("tags") or {}
    texts = [entry.get("value"), entry.get("id")]
    return (
        isinstance(tags, dict)
        and all(isinstance(text, str) for text in tags.values())
        and all(text is None or isinstance(text, str) for text in texts)
    )
