"""Writes the new value into the NuGet.Config of an agent, for one of its package sources. Everything else stays.

`dotnet nuget update source --password` would show the value to every user of the host, among its arguments.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from agent_file import find_file, replace
from stored_value import fetch_value, is_test, read_told


def main() -> None:
    """Change the password of the source, or add it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", required=True, type=Path)
    parser.add_argument("--source", required=True, help="the key of the source in packageSources")
    given = parser.parse_args()

    path = find_file(given.file)
    configuration = read_configuration(path)
    if given.source not in {each.get("key") for each in configuration.findall("packageSources/add")}:
        sys.exit(f"{path} has no source {given.source} in packageSources: add it there first")
    if is_test():
        print(f"{given.source} in {path} is found; a test changes nothing")
        return
    credentials = find_child(find_child(configuration, "packageSourceCredentials"), encode_name(given.source))
    for encrypted in credentials.findall("add[@key='Password']"):
        credentials.remove(encrypted)
    find_entry(credentials, "ClearTextPassword").set("value", fetch_value())
    user = find_entry(credentials, "Username")
    user.set("value", user.get("value") or "agent")
    ElementTree.indent(configuration)
    replace(path, ElementTree.tostring(configuration, encoding="utf-8", xml_declaration=True))
    print(f"{given.source} in {path} has the new value of {read_told('NAME')}")


def read_configuration(path: Path) -> Element:
    """Return what the file holds, comments included; end the hook if it is not a NuGet.Config."""
    try:
        parser = ElementTree.XMLParser(target=ElementTree.TreeBuilder(insert_comments=True))
        return ElementTree.parse(path, parser).getroot()
    except (OSError, ElementTree.ParseError) as error:
        sys.exit(f"{path} cannot be read: {error}")


def find_child(parent: Element, tag: str) -> Element:
    """Return the child of that name, made if need be."""
    found = parent.find(tag)
    return ElementTree.SubElement(parent, tag) if found is None else found


def find_entry(parent: Element, key: str) -> Element:
    """Return the entry with that key, made if need be."""
    found = parent.find(f"add[@key='{key}']")
    return ElementTree.SubElement(parent, "add", key=key) if found is None else found


def encode_name(source: str) -> str:
    """Return a source's key as the name of an element: `my feed` is `my_x0020_feed`."""
    coded = re.sub(r"[^\w.-]", lambda found: f"_x{ord(found[0]):04X}_", source)
    return re.sub(r"\A[\d.-]", lambda found: f"_x{ord(found[0]):04X}_", coded)


if __name__ == "__main__":
    main()
