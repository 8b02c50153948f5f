"""The verifier of audit packs and receipts: one file, `verify.py`, that imports nothing of this package."""
