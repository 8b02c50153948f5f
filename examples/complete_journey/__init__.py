"""The main job on real shop data: every mailing of a year goes through the gate, then the ledger is verified.

The shop is real: the households and campaigns of the Complete Journey data set. The choices are simulated.
Run it with `make demo`, or from a checkout with `consent demo`. The story is told step by step in
docs/tutorial/complete-journey.md.
"""
