"""The composition root: builds the rooms from the Config, starts them, stops them in reverse."""

from joulestat.service.composition import Service

__all__ = ["Service"]
