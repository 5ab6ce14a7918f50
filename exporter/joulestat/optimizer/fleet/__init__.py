"""Limits for several GPUs or several runs together: power budgets, stragglers."""
