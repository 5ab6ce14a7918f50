"""Readings in, energy that never falls out."""
