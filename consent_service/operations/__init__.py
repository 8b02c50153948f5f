"""What the service does: one verb per file, each a transaction or a reading of its own."""
