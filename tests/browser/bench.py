"""The honesty kit's bench, with our own shop and service behind the page."""

from dataclasses import dataclass

from consent_service.web.honesty import Bench
from tests.browser.shop import Shop


@dataclass(kw_only=True)
class ShopBench(Bench):
    """Visits a shop whose pages, notice and sentinels the check may change."""

    shop: Shop
