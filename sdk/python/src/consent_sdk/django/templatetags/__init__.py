"""Template tags: `{% load consent %}`."""
