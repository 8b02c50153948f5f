"""A small shop on a real catalogue: recommendations, coupons and support, each behind its purpose.

`python -m examples.storefront` starts a service in a fresh folder and the shop on http://127.0.0.1:8000.
"""
