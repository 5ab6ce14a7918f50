"""The whole loop on simulated GPUs: real processes, a real Prometheus, a real optimizer."""
