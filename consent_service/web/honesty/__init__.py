"""The honesty kit: machine-checkable rules of an honest banner, to be run by a shop against its own page.

Needs Playwright for Python (`pip install 'consent-service[honesty]'`) and a Chromium.
"""

from consent_service.web.honesty.bench import Bench, Rule, portable_rules

__all__ = ["Bench", "Rule", "portable_rules"]
