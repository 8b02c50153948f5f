"""A rotation that ends itself by SIGKILL in the middle of a step; started by the tests of rotations."""

import os
import signal
import sys
from collections.abc import Callable
from types import ModuleType

from consent_service.operations import announce_key, rotate_blind_index, rotate_keys
from consent_service.operations.committer import Committer
from consent_service.operations.deployment import Deployment
from consent_service.settings import Settings

# The function that ends everything when it is called, and how many calls go well before.
EPOCH = {
    "rotate": ("_begin_epoch", 0),
    "announce": ("_finish_epoch", 0),
    "rewrap": ("reseal_ids", 2),  # inside the transaction that wraps a range of subjects anew
    "retire": ("_require_nothing_older", 0),
    "destroy": ("rewrap_by_root", 0),
}
ROOT = {
    "begin": ("_follow_root", 0),  # a new root key is there, and wraps nothing
    "wrap": ("_wrapped_anew", 2),
    "second": ("_wrapped_anew", 6),  # one tenant is done
}
BLIND_INDEX = {
    "move": ("count_wraps", 2),  # inside the transaction that moves a range of subjects
    "retire": ("_retire", 0),
}


def dying(good: Callable[..., object], calls: int) -> Callable[..., object]:
    """Return a function that ends the process at once, as by `kill -9`, after some calls that went well."""
    left = calls

    def step(*arguments: object, **named: object) -> object:
        nonlocal left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return good(*arguments, **named)

    return step


def arm(module: ModuleType, steps: dict[str, tuple[str, int]], step: str) -> None:
    """Let a module die at a step; it works on few subjects at once, so that there are many."""
    name, calls = steps[step]
    vars(module)["_SUBJECTS_AT_ONCE"] = 7
    vars(module)[name] = dying(vars(module)[name], calls)


def main(what: str, step: str) -> None:
    """Begin a rotation, and die at `step`."""
    deployment = Deployment.open(Settings())
    committer = Committer(deployment)
    if what == "epoch":
        arm(rotate_keys, EPOCH, step)
        rotate_keys.end_epochs(deployment, committer, deployment.tenants())
    elif what == "root":
        if step == "commit":  # inside the transaction of the entry
            arm(announce_key, {"commit": ("rewrap_tenant_key", 1)}, step)
        else:
            arm(rotate_keys, ROOT, step)
        rotate_keys.rotate_root(deployment, committer)
    else:
        arm(rotate_blind_index, BLIND_INDEX, step)
        rotate_blind_index.rotate_blind_index(deployment, committer, deployment.tenants())


main(*sys.argv[1:])
