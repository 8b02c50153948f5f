"""The Django application: nothing but a home for the template tags."""

from django.apps import AppConfig


class ConsentConfig(AppConfig):
    """`consent_sdk.django` in `INSTALLED_APPS`."""

    name = "consent_sdk.django"
    label = "consent_sdk"
    default = True
