"""The command line: commands, and the one place that wires adapters to the engine."""
