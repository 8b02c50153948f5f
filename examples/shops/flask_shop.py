"""A shop on Flask.

export CONSENT_URL=http://127.0.0.1:8000 CONSENT_API_KEY=ck_...
flask --app examples.shops.flask_shop:shop run --port 8001
curl -H "X-Customer: ana" http://127.0.0.1:8001/
"""

from consent_sdk import ConsentClient
from consent_sdk.flask import Consent
from flask import Flask, render_template_string, request

_COUPONS = '{% if consent.allows("coupons") %}coupons for you{% else %}coupons for everybody{% endif %}'


def customer() -> str | None:
    """Return who is asking; a real shop looks into its session."""
    return request.headers.get("X-Customer")


def shop(client: ConsentClient | None = None) -> Flask:
    """Return the application."""
    app = Flask(__name__)
    consent = Consent(app, client or ConsentClient.from_env(), subject=customer)

    @app.get("/")
    @consent.personalized("recommendations", fallback=lambda: "best sellers")
    def home() -> str:
        return f"chosen for {customer()}"

    @app.get("/coupons")
    def coupons() -> str:
        return render_template_string(_COUPONS)

    return app
