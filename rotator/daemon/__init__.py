"""The long-running process: its jobs, who wakes and watches them, and how it starts, reloads and stops."""
