"""What the ledger proves: to the operator's own command, and to an outsider who holds its verifier key."""

import base64
from dataclasses import dataclass

import httpx2
from consent_sdk import ConsentClient, ConsentError
from consent_sdk.checkpoint import Checkpoint, open_checkpoint

from examples.complete_journey.journey import TIMEOUT_SECONDS
from examples.complete_journey.served import HandedOut, Installation


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Size and root of the ledger that was verified, and the entry that was proven to be in it.

    `faults` says in words what did not hold; `size` and `root` are None for a ledger that does not verify.
    """

    size: int | None
    root: str | None
    index: int
    verified: bool
    proven: bool
    faults: tuple[str, ...]


def gather_evidence(installation: Installation, url: str, handed: HandedOut, *, index: int) -> Evidence:
    """Verify the ledger in a separate process, and prove from outside that entry `index` is in it.

    (1) `consent ledger verify` re-derives everything from what is stored. (2) The auditor proves the entry.
    (3) Both must have seen the same ledger.
    """
    answer = installation.ask("ledger", "verify")  # (1)
    verified, size, root = answer.get("verified") is True, answer.get("size"), answer.get("root")
    faults = []
    if not verified:
        faults.append(f"consent ledger verify: entry {answer.get('index')}: {answer.get('fault')}")
    seen = None
    try:
        seen = prove_entry(url, handed, index)  # (2)
    except ConsentError as error:
        faults.append(f"the proof of entry {index}: {error}")
    if seen and verified and (seen.size, base64.b64encode(seen.root).decode()) != (size, root):  # (3)
        faults.append("the published checkpoint is not that of the verified ledger")
    return Evidence(
        size=size if isinstance(size, int) else None,
        root=root if isinstance(root, str) else None,
        index=index,
        verified=verified,
        proven=seen is not None,
        faults=tuple(faults),
    )


def prove_entry(url: str, handed: HandedOut, index: int) -> Checkpoint:
    """Return the published checkpoint, in whose ledger entry `index` is proven to be; raise `ConsentError`.

    (1) The checkpoint must be signed by the verifier key handed out at set-up, not by one the service names
    now. (2) The proof that the service gives must lead to the checkpoint's root.
    """
    headers = {"Authorization": f"Bearer {handed.auditor_key}"}
    note = httpx2.get(f"{url}/v1/ledger/checkpoint", headers=headers, timeout=TIMEOUT_SECONDS).content
    checkpoint = open_checkpoint(note, key=handed.verifier_key)  # (1)
    with ConsentClient(url, api_key=handed.auditor_key, timeout=TIMEOUT_SECONDS, stream="off") as auditor:
        proof = auditor.inclusion_proof(index, size=checkpoint.size)
    proof.verify(root=checkpoint.root)  # (2)
    return checkpoint
