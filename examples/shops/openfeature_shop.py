"""A shop that asks through OpenFeature, and does not know who answers.

export CONSENT_URL=http://127.0.0.1:8000 CONSENT_API_KEY=ck_...
python -m examples.shops.openfeature_shop ana
"""

import sys

from consent_sdk import ConsentClient
from consent_sdk.openfeature import ConsentProvider
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext


def page(flags: OpenFeatureClient, customer: str) -> str:
    """Return the page of a customer."""
    context = EvaluationContext(targeting_key=customer)
    if flags.get_boolean_value("recommendations", default_value=False, evaluation_context=context):
        return f"chosen for {customer}"
    return "best sellers"


def main(customers: list[str]) -> None:
    """Print a page for each customer."""
    with ConsentClient.from_env() as consent:
        consent.wait_until_ready(5)
        api.set_provider(ConsentProvider(consent))
        for customer in customers:
            print(page(api.get_client(), customer))
    api.shutdown()


if __name__ == "__main__":
    main(sys.argv[1:])
