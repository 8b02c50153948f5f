"""Programs from outside Python that tests drive. A missing one fails its tests: nothing is skipped."""

import shutil

import pytest


def installed_program(name: str, *, debian_package: str) -> str:
    """The path of a program that must be there; fails the test and says what to install when it is not."""
    path = shutil.which(name)
    if path is None:
        pytest.fail(
            f"`{name}` is missing: apt-get install {debian_package} (.ci/run installs all there is)",
            pytrace=False,
        )
    return path
