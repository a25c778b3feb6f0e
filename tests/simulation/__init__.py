"""The real engine on a world in memory, with crashes, faults, late requests, people and several writers."""
