"""The installation that a command works with."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from rotator.cli.context import CliContext
from rotator.wiring.installation import Installation
from rotator.wiring.logs import LEVELS, QUIET, LogOptions, start_logs
from rotator.wiring.origin import Origin


def open_installation(cli: CliContext) -> Installation:
    """The installation that the command line and the environment name, with the log on stderr. A context manager."""
    level = QUIET if cli.quiet else LEVELS[min(cli.verbosity, len(LEVELS) - 1)]
    start_logs(LogOptions(sys.stderr, level))
    return Installation(Origin(cli.config, os.environ, Path.cwd()))
