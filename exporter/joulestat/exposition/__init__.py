"""Snapshot in, Prometheus text out."""

from joulestat.exposition.constants import Constants
from joulestat.exposition.content import ContentType, negotiate
from joulestat.exposition.pages import Exposition

__all__ = ["Constants", "ContentType", "Exposition", "negotiate"]
