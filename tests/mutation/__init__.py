"""Mutation testing of what may lose, leak, orphan or wrongly revoke: each small change to it must fail a test."""
