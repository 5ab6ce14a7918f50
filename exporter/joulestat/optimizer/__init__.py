"""The offline optimizer: reads a run's history from Prometheus and decides its power limit."""
