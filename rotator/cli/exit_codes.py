"""What only a command ends with. Imports nothing, so that `--help` is quick."""

from __future__ import annotations

ATTENTION = 4
CHANGES_PENDING = 20
INTERRUPTED = 130
NAGIOS_OK, NAGIOS_WARNING, NAGIOS_CRITICAL, NAGIOS_UNKNOWN = range(4)
"""What a Nagios plugin exits with: `status --nagios`."""
