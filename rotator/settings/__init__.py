"""The two files that people write, `rotator.yaml` and `policy.yaml`: read, checked as a whole, explained."""
