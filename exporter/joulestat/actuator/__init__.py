"""The split: one process without a network writes limits, the one that faces it only asks."""
