"""What proof costs: exporting a pack, verifying it offline, and receipts, each beside its bare equivalent.

On SQLite without HTTP: a ledger of 1,000,000 entries of 200,000 subjects, 30,000 of 6,000 with QUICK=1, which
is enough for the verifier to take two processes.
"""

import hashlib
import hmac
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from consent_service.ledger.receipt_forms.json_ld import MEDIA_TYPE
from consent_service.operations.export_audit import AuditRequest, export_audit
from consent_service.operations.read_receipt import read_receipt, write_receipt
from consent_service.operations.record_decision import RecordDecision
from consent_service.storage.ledger_store import stream_entries
from consent_service.verifier import verify
from tests.benchmarks.ledger_scale import _Shop
from tests.benchmarks.measure import QUICK, interleaved, median, ratio

_SIZE = 30_000 if QUICK else 1_000_000
_SUBJECTS = _SIZE // 5
_RECEIPTS = 500
_CONSENT = str(Path(sys.executable).parent / "consent")


class _ReturningShop(_Shop):
    """A ledger whose subjects come back: each decides five times."""

    def _decision(self) -> RecordDecision:
        if self._next == _SUBJECTS:
            self._next = 0
        return super()._decision()


class _Proof:
    """A filled shop, and one round of each measurement in entries (or receipts) a second."""

    def __init__(self, folder: Path) -> None:
        self.shop = _ReturningShop(folder, _SIZE)
        self.pack, self.plain = folder / "pack.zip", folder / "plain.ndjson"
        self._random = random.Random(6)  # noqa: S311  # any spread of indexes will do
        self._hashed: list[tuple[bytes, bytes]] = []

    def export(self) -> float:
        started = time.perf_counter()
        with self.pack.open("wb") as file:
            for piece in export_audit(self.shop.service.deployment, self.shop.tenant, AuditRequest()):
                file.write(piece)
        return _SIZE / (time.perf_counter() - started)

    def bare_export(self) -> float:
        """The same rows as lines of JSON, and nothing else."""
        started = time.perf_counter()
        deployment = self.shop.service.deployment
        with (
            deployment.reading(self.shop.tenant) as scope,
            self.plain.open("wb") as file,
            closing(stream_entries(scope)) as entries,
        ):
            for index, leaf, opening, body, _ in entries:
                file.write(
                    b'{"index":%d,"leaf":%b,"opening":"%b","record":%b}\n'
                    % (index, leaf, (opening or b"").hex().encode(), body or b"null")
                )
        return _SIZE / (time.perf_counter() - started)

    def verify(self) -> float:
        started = time.perf_counter()
        verify.verify_pack(self.pack, vkey=self.shop.tenant.signer.vkey)
        return _SIZE / (time.perf_counter() - started)

    def bare_hashing(self) -> float:
        """Commitment and leaf hash of the same entries, which are in memory already."""
        if not self._hashed:
            deployment = self.shop.service.deployment
            with deployment.reading(self.shop.tenant) as scope, closing(stream_entries(scope)) as entries:
                self._hashed = [
                    ((opening or b"") + (body or b""), leaf) for _, leaf, opening, body, _ in entries
                ]
        started = time.perf_counter()
        for message, leaf in self._hashed:
            hmac.digest(verify.COMMITMENT_KEY, message, "sha256")
            hashlib.sha256(b"\0" + leaf).digest()
        return _SIZE / (time.perf_counter() - started)

    def receipts(self) -> float:
        deployment, tenant = self.shop.service.deployment, self.shop.tenant
        indexes = [self._random.randrange(1, _SIZE) for _ in range(_RECEIPTS)]
        started = time.perf_counter()
        for index in indexes:
            write_receipt(read_receipt(deployment, tenant, index), MEDIA_TYPE, deployment.settings)
        return _RECEIPTS / (time.perf_counter() - started)

    def forget(self) -> None:
        self._hashed = []


def figures() -> dict[str, object]:
    """Return rates, the ratios to their bare equivalents, and the memory of the two commands."""
    with tempfile.TemporaryDirectory(prefix="consent-proof-") as folder:
        proof = _Proof(Path(folder))
        try:
            exporting = interleaved({"export": proof.export, "bare": proof.bare_export})
            verifying = interleaved({"verify": proof.verify, "bare": proof.bare_hashing})
            proof.forget()
            receipts = interleaved({"receipts": proof.receipts})
        finally:
            proof.shop.service.close()
        environment = {**os.environ, "CONSENT_HOME": folder}
        out = str(proof.pack)
        exported = _memory([_CONSENT, "audit", "export", "--out", out], environment)
        with ThreadPoolExecutor() as pool:  # Memory is no matter of time.
            verified = pool.submit(_memory, [sys.executable, "-I", str(verify.__file__), out], environment)
            with_views = pool.submit(_memory, [_CONSENT, "audit", "verify", out], environment)
        return {
            "entries": _SIZE,
            "pack_bytes_per_entry": round(proof.pack.stat().st_size / _SIZE),
            "export": {
                "entries_per_s": median(exporting["export"]),
                "bare_entries_per_s": median(exporting["bare"]),
                "ratio": ratio(exporting, "export", "bare"),
                "rss_mib": exported,
            },
            "verify": {
                "entries_per_s": median(verifying["verify"]),
                "bare_entries_per_s": median(verifying["bare"]),
                "ratio": ratio(verifying, "verify", "bare"),
                "rss_mib": verified.result(),
            },
            "verify_with_views": {"rss_mib": with_views.result()},
            "receipts_per_s": median(receipts["receipts"]),
        }


def _memory(command: list[str], environment: dict[str, str]) -> int:
    """Return the largest resident sets of a command and of those it starts in MiB, added up.

    Resource usage would count ours before exec, /proc does not.
    """
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    largest: dict[str, int] = {}
    while process.poll() is None:
        for pid in [str(process.pid), *_read(f"/proc/{process.pid}/task/{process.pid}/children").split()]:
            found = re.search(r"VmHWM:\s+(\d+) kB", _read(f"/proc/{pid}/status"))
            largest[pid] = max(largest.get(pid, 0), int(found[1]) if found else 0)
        time.sleep(0.01)
    if process.returncode != 0:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}")
    return round(sum(largest.values()) / 1024)


def _read(file: str) -> str:
    try:
        return Path(file).read_text()
    except OSError:
        return ""  # it ended meanwhile
