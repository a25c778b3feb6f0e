"""Puts the new value into a service connection of Azure Pipelines, such as one to a feed or another organization."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from azure_devops import Kept, add_place
from stored_value import fetch_value, is_test, read_told

_SECRET_OF = {"Token": "apitoken", "UsernamePassword": "password"}
"""Which parameter holds the secret, by the connection's scheme."""


def main() -> None:
    """Read the connection, change its one secret, write all of it back."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_place(parser)
    parser.add_argument("--connection", required=True, help="the id of the connection: resourceId in its address")
    given = parser.parse_args()

    route = f"serviceendpoint/endpoints/{given.connection}"
    kept = Kept(given, f"service connection {given.connection}", route)
    connection = kept.read()
    secret = find_secret(connection)
    if is_test():
        print(f"{connection['name']} is found; a test changes nothing")
        return
    authorization = connection["authorization"]
    parameters = {**authorization["parameters"], secret: fetch_value()}
    after = kept.write({**connection, "authorization": {**authorization, "parameters": parameters}})
    if lost := find_projects(connection) - find_projects(after):
        sys.exit(f"{connection['name']} is no longer shared with {', '.join(sorted(lost))}: share it again")
    print(f"{connection['name']} has the new value of {read_told('NAME')}")


def find_secret(connection: dict[str, Any]) -> str:
    """Return which parameter holds the secret; end the hook if that is not certain."""
    authorization = connection["authorization"]
    secret = _SECRET_OF.get(authorization["scheme"])
    if secret is None:
        known = " or ".join(_SECRET_OF)
        sys.exit(f"{connection['name']} signs in by {authorization['scheme']}: this hook is for {known}")
    hidden = {name for name, value in authorization["parameters"].items() if value is None} - {secret}
    if hidden:  # nobody can send back what is not shown
        sys.exit(f"{connection['name']} also holds {', '.join(sorted(hidden))}, which a change would delete")
    return secret


def find_projects(connection: dict[str, Any]) -> set[str]:
    """Return the names of the projects that it is shared with."""
    return {each["projectReference"]["name"] for each in connection["serviceEndpointProjectReferences"]}


if __name__ == "__main__":
    main()
