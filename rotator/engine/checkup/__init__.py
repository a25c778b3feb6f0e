"""`rotator doctor`: a table of checks over the ports, each of which says what it found and changes nothing."""
