"""What the engine and the daemon need from outside, one protocol family per file. Errors: `rotator.errors`."""
