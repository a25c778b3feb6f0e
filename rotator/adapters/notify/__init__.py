"""Receivers of notifications: each module sends to one kind."""
