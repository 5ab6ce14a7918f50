"""The exporter's own history: what each run did and when, in one file beside the ledger's."""
