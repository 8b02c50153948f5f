"""pytest fixtures, found by pytest itself where the SDK is installed: `fake_consent` and `consent_clock`."""

from __future__ import annotations

import pytest

from consent_sdk.testing import FakeConsent, SettableClock


@pytest.fixture
def consent_clock() -> SettableClock:
    """Return the clock of `fake_consent`: it moves only when the test says so."""
    return SettableClock()


@pytest.fixture
def fake_consent(consent_clock: SettableClock) -> FakeConsent:
    """Return a `FakeConsent` in which nobody was asked yet."""
    return FakeConsent(clock=consent_clock)
