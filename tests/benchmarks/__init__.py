"""Figures as ratios, measured side by side in one run: `make bench`. Never asserted in a test."""
