"""Metrics in a file, for the textfile collector of Prometheus' node exporter."""

from __future__ import annotations

import os
from pathlib import Path

from rotator.adapters.disk import choose_fix
from rotator.adapters.ownership import hand_over
from rotator.domain.monitoring_errors import MonitoringError


def write_textfile(path: Path, text: bytes) -> None:
    """Replace the file whole, readable by everybody: whoever reads meanwhile sees the old one or the new one.

    MonitoringError when it cannot be written. The file beside it has a name that the collector does not read.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                hand_over(descriptor, path)
                file.write(text)
                os.fchmod(descriptor, 0o644)
            fresh.replace(path)
        except OSError:
            fresh.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise MonitoringError(
            f"metrics_textfile: {path} cannot be written: {error.strerror}",
            code="textfile_unwritable",
            fix=choose_fix(error, path, f"Let the user that runs rotator write to {path.parent}."),
        ) from error
