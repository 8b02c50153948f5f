"""The tables of docs/reference/performance.md, from the JSON of `make bench` that lies beside it.

The goals are those of `tests/benchmarks/goals.py`; here they get their words.
"""

import json
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from tests.benchmarks.goals import GOALS, Figure, judged

MEASURED = Path(__file__).parents[1] / "docs" / "reference" / "performance.json"
WORDS: Mapping[str, str] = {
    "http_decisions.*.decision_to_bare_group_commit": "`POST /v1/decisions`, 64 connections, to a bare "
    "endpoint that commits one row in groups",
    "http_decisions.*.decision_to_noop": "the same to an endpoint that only validates",
    "http_decisions.*.gate_to_noop": "`POST /v1/gate` to that",
    "http_decisions.*.decision_to_orm_commit_16_connections": "a decision, 16 connections, to one ORM commit "
    "per request",
    "http_decisions.*.batch_of_500_to_single_per_decision": "a batch of 500 to single decisions",
    "http_decisions.*.import_job.*": "a batch of 500 to single decisions by one import job: one connection, "
    "one request after the other",
    "http_decisions.*.two_workers_to_one": "two workers to one",
    "ledger_scale.*_large_to_small": "time at 1,000,000 entries to that at 10,000",
    "ledger_scale.verify_to_bare_hashing": "`consent ledger verify` to hashing the leaves",
    "serving.start_seconds": "seconds from `consent serve` to `/ready` on 1,000,000 entries",
    "serving.idle_rss_mib": "MiB of an idle worker",
    "serving.rss_grown_mib": "MiB that 100,000 decisions add to it",
    "vault_decisions.*_with_keys_to_without": "decisions with key grants for four purposes to those without",
    "vault_profiles.read.single_read_to_bare_time": "time of a purpose-bound read of 10 fields to its bare "
    "SELECTs and AES-GCM calls",
    "vault_profiles.read.batch_of_500_to_single_per_subject": "a batch read of 500 to single reads",
    "vault_profiles.write.sealed_to_clear_time": "time of a sealed PATCH to one in clear",
    "vault_rotation.rows_per_second": "key rows that an epoch's end wraps anew a second",
    "vault_rotation.memory_grown_mib": "MiB that it holds more meanwhile",
    "proof_pack.export.ratio": "export of a pack to streaming the same rows bare",
    "proof_pack.verify.ratio": "offline verification to hashing the same leaves",
    "proof_pack.*.rss_mib": "MiB of that",
    "proof_pack.receipts_per_s": "receipts with proof a second",
    "fleet_scan.ratio": "a scan of packs with DuckDB to its own scan-and-hash of the same files",
    "peers_ledger.*_100000.questions*_to_shipped": "questions to @c15t/backend as it ships, 100,000 subjects",
    "peers_ledger.*_10000.writes*_to_shipped": "writes to @c15t/backend as it ships, 10,000 subjects",
    "peers_ledger.*_10000.writes*_to_mended": "writes to the same, mended",
    "peers_ledger.*_10000.questions*_to_shipped": "questions to @c15t/backend as it ships, 10,000 subjects",
    "peers_ledger.*_10000.questions*_to_mended": "questions to the same, mended",
    "sdk_gate.*gate_ratio": "a bound gate to a bare dictionary look-up, time",
    "sdk_gate.*allows_ratio": "`allows()` to that",
    "sdk_gate.*check_ratio": "`check()` to that",
    "sdk_gate.*time_ratio": "two threads under updates to one alone, time",
    "sdk_gate.*exceptions": "calls of theirs that raised",
    "sdk_gate.*bytes_*": "bytes of a withdrawal on the wire",
    "sdk_gate.*apply_us": "microseconds to apply it",
    "sdk_gate.*import": "milliseconds of CPU for `import consent_sdk`",
    "sdk_gate.*memory*": "megabytes of 100,000 subjects with six purposes",
    "stream_latency.*.p50_ms_of_100": "milliseconds from a withdrawal to its event, 100 followers, median",
    "stream_latency.*.p99_ms_of_100": "the same, 99th percentile",
    "sdk_outage.recovery_s_worst": "seconds until ten clients are live after an outage of 45 s (quick: 8 s)",
    "sdk_outage.reconnects_in_15s_of_*": "connections of one client in 15 s of refusals, or of clean ends",
    "sdk_outage.cuts.late_yes": "gates open past the staleness in 200 random cuts",
    "stream_latency.withdrawal_bytes": "bytes of a withdrawal on the stream, chunk and all",
    "stream_latency.*.last_of_1000_ms_*": "milliseconds to the last of 1,000 followers, median and worst",
    "banner.this banner.gzip bytes": "bytes of the banner with dialog and texts, gzip",
    "banner.this banner.requests": "its requests",
    "banner.this banner.slow: script ms": "its milliseconds of script on slow 4G and a quarter of the CPU",
    "banner.this banner.slow: blocked beyond bare ms": "its blocking time there, beyond the bare page's",
    "banner.this banner.layout shift": "its layout shift",
    "banner.this banner.slow: accept ms": "its milliseconds to answer a click there",
    "banner.this banner.after bare paint ms": "milliseconds it is seen after the bare page's paint",
    "banner.this banner.slow: after bare paint ms": "the same on slow 4G and a quarter of the CPU",
    "banner.*rendered by the server, style inline.after bare paint ms": "the same, put in by the server",
    "banner.*rendered by the server, style inline.slow: after bare paint ms": "the same on slow 4G and a "
    "quarter of the CPU",
    "banner.*the best peer.*.behind": "how far the banner is behind the best peer of the same run",
}
"""What each goal is about; everything without a unit is a ratio of rates."""

TESTED: Mapping[str, str] = {
    "no gate is open past the staleness in 200 random cuts": "sdk/python/tests/test_cuts.py::"
    "test_no_gate_opens_past_the_staleness_in_200_random_cuts",
    "no answer leaves the published OFREP shape": "tests/interop/test_ofrep_shape.py::"
    "test_no_answer_leaves_the_published_shape",
    "no answer of any route leaves the OpenAPI document": "tests/api/test_schemathesis.py::"
    "test_no_answer_leaves_the_openapi_document",
}
"""Figures that hold or fail, so that a test holds them."""


def _run() -> dict[str, Any]:
    run: dict[str, Any] = json.loads(MEASURED.read_text())
    return run


def _figures() -> dict[str, list[Figure]]:
    """Return the figures of the run by the pattern of their goal."""
    by_pattern: dict[str, list[Figure]] = {pattern: [] for pattern in GOALS}
    for name, values in _run().get("figures", {}).items():
        for figure in judged(name, values):
            if figure.goal is not None:
                first = next(pattern for pattern in GOALS if fnmatchcase(figure.name, pattern))
                by_pattern[first].append(figure)
    return by_pattern


def performance() -> str:
    """Return the table of every figure with its goal, and what the last run measured."""
    lines = ["| what | figure | goal | measured | met |\n| --- | --- | --- | --- | --- |\n"]
    for pattern, figures in _figures().items():
        if not figures:
            lines.append(f"| {WORDS[pattern]} | `{pattern}` | {GOALS[pattern]} | not in this run | |\n")
        for figure in figures:
            met = "yes" if figure.met else "**no**"
            lines.append(
                f"| {WORDS[pattern]} | `{figure.name}` | {figure.goal} | {figure.value:,} | {met} |\n"
            )
    return "".join(lines)


def performance_tests() -> str:
    """Return the table of the figures that a test holds."""
    rows = (f"| {what} | `{test}` |\n" for what, test in TESTED.items())
    return "".join(["| what | test |\n| --- | --- |\n", *rows])


def performance_run() -> str:
    """Return where and when the run was, and which benchmarks gave no figures."""
    run = _run()
    lines = [f"- {name}: {value}\n" for name, value in run.get("machine", {}).items()]
    lines += [f"- {name} gave no figures: {why}\n" for name, why in run.get("failed", {}).items()]
    return "".join(lines)


def rates() -> str:
    """Return the rates beside the other service, operations a second."""
    lines = [
        "| database, subjects | act | ours | two workers | as it ships | mended |\n",
        "| --- " * 6 + "|\n",
    ]
    for place, figures in _run().get("figures", {}).get("peers_ledger", {}).items():
        lines += (_rates_of(place, act, figures["rates_per_second"]) for act in ("write", "question"))
    return "".join(lines)


def _rates_of(place: str, act: str, rates: Mapping[str, float]) -> str:
    names = (act, f"{act}_two_workers", f"{act}_shipped", f"{act}_mended")
    shown = " | ".join(f"{rates[name]:,.0f}" for name in names)
    return f"| {place.replace('_', ', ')} | {act} | {shown} |\n"


def durability() -> str:
    """Return how each side waits for the disk, as its database says."""
    lines = []
    for place, figures in _run().get("figures", {}).get("peers_ledger", {}).items():
        for side, settings in figures["durability"].items():
            told = ", ".join(f"`{name}` {value}" for name, value in settings.items())
            lines.append(f"- {place.replace('_', ', ')}, {side}: {told}\n")
    return "".join(lines)
