"""Django: middleware that sets `request.consent`, and template tags. Needs the extra `consent-sdk[django]`.

INSTALLED_APPS = [..., "consent_sdk.django"]
MIDDLEWARE = [..., "consent_sdk.django.middleware.ConsentMiddleware"]
CONSENT_CLIENT = "shop.consent.client"        # a ConsentClient, or a function that gives one
CONSENT_SUBJECT = "shop.consent.subject_of"   # request -> the subject, None for a visitor nobody knows

CONSENT_SUBJECT may name a coroutine function. In an async view: `await request.consent.aallows("coupons")`.
"""
