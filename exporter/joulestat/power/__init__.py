"""Who may hold a power limit, for how long, and what comes back afterwards."""
