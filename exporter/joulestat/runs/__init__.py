"""Whose energy it was."""
