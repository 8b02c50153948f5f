"""Consent Toolkit: explicit, revocable choices kept as evidence that anyone can verify."""
