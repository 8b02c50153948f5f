"""A rotation that ends itself by SIGKILL in the middle of a step; started by `test_rotation.py`."""

import os
import signal
import sys

from consent_service.operations import rotate_keys
from consent_service.operations.committer import Committer
from consent_service.operations.deployment import Deployment
from consent_service.settings import Settings


def end(*_arguments: object, **_named: object) -> None:
    """End at once, as by `kill -9`."""
    os.kill(os.getpid(), signal.SIGKILL)


STEPS = {
    "rotate": "_begin_epoch",
    "announce": "_finish_epoch",
    "rewrap": "reseal_ids",  # inside the transaction that wraps a range of subjects anew
    "retire": "_require_nothing_older",
    "destroy": "rewrap_by_root",
}


def main(step: str) -> None:
    """Begin to end an epoch, and die at `step`."""
    deployment = Deployment.open(Settings())
    vars(rotate_keys)["_SUBJECTS_AT_ONCE"] = 7
    vars(rotate_keys)[STEPS[step]] = end
    rotate_keys.end_epochs(deployment, Committer(deployment), deployment.tenants())


main(sys.argv[1])
