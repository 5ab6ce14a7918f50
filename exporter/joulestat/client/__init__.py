"""What training code imports: it counts, it tells the exporter, and it never gets in the way."""
