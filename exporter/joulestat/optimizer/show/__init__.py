"""Decisions as people and programs read them: tables, JSON, plots, a page."""
