"""A daemon that lives for years in minutes, in a world where services, clocks, databases and hosts fail."""
