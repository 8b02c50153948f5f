"""The package as it is installed."""

import consent_service


def test_the_package_says_what_it_is_for() -> None:
    assert consent_service.__doc__ is not None
    assert "evidence" in consent_service.__doc__
