"""The real engine on a world in memory, with crashes, faults, late requests, humans and several writers."""
