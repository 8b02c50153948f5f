"""R01 to R57: one check a rule, on a real page in a real browser.

With CONSENT_SOAK=1 axe-core looks at every language.
"""

import pytest

from consent_service.web.honesty import Rule, portable_rules
from tests.browser import own_platform_rules, own_rules
from tests.browser.bench import ShopBench

RULES = sorted([*portable_rules(), *own_rules.OWN], key=lambda rule: rule.id)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.id}-{rule.check.__name__}")
def test_honesty_rule(rule: Rule, bench: ShopBench) -> None:
    rule.check(bench)


def test_every_rule_is_checked_once() -> None:
    assert [rule.id for rule in RULES] == [f"R{number:02}" for number in range(1, 58)]
    assert own_platform_rules.OWN is own_rules.OWN
