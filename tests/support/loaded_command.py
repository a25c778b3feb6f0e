"""The command with all its modules loaded, those that it imports only when it needs them too."""

from __future__ import annotations

import importlib
import pkgutil

import rotator
from rotator.cli.main import main

__all__ = ["main"]

for module in pkgutil.walk_packages(rotator.__path__, f"{rotator.__name__}."):
    if not module.name.endswith(".__main__"):
        importlib.import_module(module.name)
