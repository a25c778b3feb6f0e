"""What only a command ends with. Imports nothing, so that `--help` is quick."""

from __future__ import annotations

DECLINED = 1
"""A person answered no, so nothing was done: a script that goes on after 0 must not. apt and terraform do the same."""
ATTENTION = 4
CHANGES_PENDING = 20
INTERRUPTED = 130
NAGIOS_OK, NAGIOS_WARNING, NAGIOS_CRITICAL, NAGIOS_UNKNOWN = range(4)
"""What a Nagios plugin exits with: `status --nagios`."""
