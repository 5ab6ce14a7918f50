"""What a run did, and where that is read from: PromQL servers, or the exporter itself."""
