"""Vendor library in, domain out."""
