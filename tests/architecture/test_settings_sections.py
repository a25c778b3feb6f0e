"""Each section of `rotator.yaml` is one file, and one line in the model."""

import typing
from collections.abc import Iterator

from rotator.settings.fields import Section
from rotator.settings.model import Settings
from tests.support.source_tree import PACKAGE, load_product

_FOLDER = "rotator.settings.sections."


def _find_sections(annotation: object) -> Iterator[type[Section]]:
    """The models inside an annotation: of the field itself, or of a list's entries."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from _find_sections(inner)


def test_section_has_a_file_of_its_key_when_the_model_names_it() -> None:
    homes = {
        key: {section.__module__ for section in _find_sections(field.annotation)}
        for key, field in Settings.model_fields.items()
    }
    sections = {key: found for key, found in homes.items() if found}
    assert sections == {key: {_FOLDER + key} for key in sections}
    files = {path.stem for path in (PACKAGE / "settings" / "sections").glob("*.py")} - {"__init__"}
    assert set(sections) == files


def test_section_stands_alone_when_its_file_is_read() -> None:
    modules = [module for module in load_product() if module.name.startswith(_FOLDER)]
    assert [
        f"{module.name} imports {name}"
        for module in modules
        for name in module.imported()
        if name.startswith((_FOLDER, "rotator.settings.model."))
    ] == []
