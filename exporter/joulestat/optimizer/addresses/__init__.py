"""Which admin API has a GPU: those that are named, or found by the ``instance`` label."""
