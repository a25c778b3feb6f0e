"""The public JSON, version 1: one file per subject, plain values in, a typed document out, never a token value."""
