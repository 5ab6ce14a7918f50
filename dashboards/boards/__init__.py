"""The boards that Grafana shows, as Python that writes their JSON: ``python -m boards``."""
