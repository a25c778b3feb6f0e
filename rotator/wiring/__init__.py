"""Settings in, objects out: the one place where adapters meet the engine. The command line calls it."""
