"""The outside world, one module per technology; each implements a port."""
