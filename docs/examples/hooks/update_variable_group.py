"""Puts the new value into a secret variable of a variable group of Azure Pipelines.

A group that is linked to the vault needs no hook: pipelines read the vault themselves.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from azure_devops import Kept, add_place
from stored_value import fetch_value, is_test, read_told


def main() -> None:
    """Read the group, change the one variable, write all of it back."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_place(parser)
    parser.add_argument("--group", required=True, type=int, help="the id of the group, as in its address")
    parser.add_argument("--variable", required=True)
    given = parser.parse_args()

    kept = Kept(given, f"variable group {given.group}", f"distributedtask/variablegroups/{given.group}")
    group = kept.read()
    name = find_variable(group, given.variable)
    if is_test():
        print(f"{name} in {group['name']} is found; a test changes nothing")
        return
    before = group["variables"]
    # The values of other secret variables are not shown. Sent back as null, they stay; a variable that is not sent back
    # is deleted.
    after = kept.write({**group, "variables": {**before, name: {"value": fetch_value(), "isSecret": True}}})
    if lost := sorted(set(before) - set(after["variables"])):
        sys.exit(f"variable group {given.group} has lost {', '.join(lost)}: enter them again")
    print(f"{name} in {group['name']} has the new value of {read_told('NAME')}")


def find_variable(group: dict[str, Any], wanted: str) -> str:
    """Return the variable's name as the group spells it; end the hook if it is not one that this may change."""
    if group["type"] != "Vsts":
        sys.exit(f"{group['name']} is linked to a vault: pipelines read the new value from there, without this hook")
    for name, variable in group["variables"].items():
        if name.lower() == wanted.lower():
            if not variable.get("isSecret"):
                sys.exit(f"{name} in {group['name']} is not secret: everyone would see the value. Make it secret first")
            return str(name)
    sys.exit(f"{group['name']} has no variable {wanted}. It has: {', '.join(sorted(group['variables']))}")


if __name__ == "__main__":
    main()
