"""The exit codes of the commands: those of a run, and what only a command ends with."""

from __future__ import annotations

from rotator.engine.alarm import Alarm
from rotator.engine.exit_codes import DONE as DONE
from rotator.engine.exit_codes import FAILED as FAILED
from rotator.engine.exit_codes import LOCKED as LOCKED
from rotator.engine.exit_codes import PARTLY_FAILED as PARTLY_FAILED
from rotator.engine.exit_codes import find_code_of_errors as find_code_of_errors
from rotator.engine.exit_codes import find_code_of_report as find_code_of_report
from rotator.errors import SignInRequiredError

ATTENTION = 4
CHANGES_PENDING = 20
INTERRUPTED = 130
NAGIOS_OK, NAGIOS_WARNING, NAGIOS_CRITICAL, NAGIOS_UNKNOWN = range(4)
"""What a Nagios plugin exits with: `status --nagios`."""


def find_code_of_alarm(alarm: Alarm) -> int:
    """Find the code of a check."""
    return {Alarm.NONE: DONE, Alarm.SIGN_IN: SignInRequiredError.exit_code, Alarm.ATTENTION: ATTENTION}[alarm]
