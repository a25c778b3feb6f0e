"""The words and rules of the product, pure: no I/O, no clock, no logging, no randomness."""
