"""What leaves the shop: a pack for an auditor, checked without the service, and a receipt for a customer."""

import subprocess
import sys
import zipfile
from pathlib import Path

from rich.console import Console

from examples.complete_journey.served import Installation

PACK, VERIFIER = "audit.zip", "verify.py"


def hand_over(installation: Installation, *, key: str, index: int, screen: Console) -> list[str]:
    """Export the audit pack, verify it with the one file inside it, show a receipt; return what failed.

    The verifier is a process of its own that has the pack and the log's key: no service, no database.
    """
    exported = installation.ask("audit", "export", "--out", PACK)
    with zipfile.ZipFile(installation.home / PACK) as pack:
        (installation.home / VERIFIER).write_bytes(pack.read(VERIFIER))
    verified = _run(installation, sys.executable, "-I", VERIFIER, PACK, "--key", key)
    screen.print(f"\nAudit pack of {exported['bytes']:,} bytes, verified offline:", highlight=False)
    screen.print(verified.stdout.strip(), highlight=False, markup=False, soft_wrap=True)
    faults = [] if verified.returncode == 0 else [f"the audit pack: {verified.stdout.strip()}"]
    consent = str(Path(sys.executable).with_name("consent"))
    receipt = _run(installation, consent, "receipt", str(index))
    return faults + _show(receipt, screen)


def _show(receipt: "subprocess.CompletedProcess[str]", screen: Console) -> list[str]:
    """Show a receipt without its last line, the evidence, and the code that leads to the choices."""
    if receipt.returncode != 0:
        return [f"the receipt: {receipt.stderr.strip()}"]
    shown = [line for line in receipt.stdout.splitlines() if not line.startswith("{")]
    screen.print(f"\nReceipt:\n{chr(10).join(shown)}", highlight=False, markup=False, soft_wrap=True)
    return []


def _run(installation: Installation, *command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # noqa: S603  # our own programs
        command,
        cwd=installation.home,
        env=installation.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
