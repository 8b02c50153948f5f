"""After the commit: what follows the ledger by its index."""
