"""What the figures have to be: the first pattern that fits a figure's name (benchmark.figure.…) counts."""

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound of a figure: at least, or at most."""

    bound: float
    at_least: bool = True

    def met_by(self, value: float) -> bool:
        """Say whether a figure keeps to it."""
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        return f"{'at least' if self.at_least else 'at most'} {self.bound:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A measured value by name, and what it has to be, if anything."""

    name: str
    value: object
    goal: Goal | None

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; `None` where there is none."""
        if self.goal is None or not isinstance(self.value, int | float):
            return None
        return self.goal.met_by(self.value)


def _at_most(bound: float) -> Goal:
    return Goal(bound, at_least=False)


GOALS: dict[str, Goal] = {
    "http_decisions.*.decision_to_bare_group_commit": Goal(0.55),
    "http_decisions.*.decision_to_noop": Goal(0.35),
    "http_decisions.*.gate_to_noop": Goal(0.6),
    "http_decisions.*.decision_to_orm_commit_16_connections": Goal(3),
    "http_decisions.*.batch_of_500_to_single_per_decision": Goal(10),
    "http_decisions.*.import_job.*": Goal(10),
    "http_decisions.*.two_workers_to_one": Goal(1),
    "ledger_scale.*_large_to_small": _at_most(1.3),
    "ledger_scale.verify_to_bare_hashing": Goal(0.25),
    "serving.start_seconds": _at_most(2),
    "serving.idle_rss_mib": _at_most(120),
    "serving.rss_grown_mib": _at_most(30),
    "vault_decisions.*_with_keys_to_without": Goal(0.7),
    "vault_profiles.read.single_read_to_bare_time": _at_most(3),
    "vault_profiles.read.batch_of_500_to_single_per_subject": Goal(5),
    "vault_profiles.write.sealed_to_clear_time": _at_most(2),
    "vault_rotation.rows_per_second": Goal(20_000),
    "vault_rotation.memory_grown_mib": _at_most(30),
    "proof_pack.export.ratio": Goal(0.3),
    "proof_pack.verify.ratio": Goal(0.25),
    "proof_pack.*.rss_mib": _at_most(300),
    "proof_pack.receipts_per_s": Goal(300),
    "fleet_scan.ratio": Goal(0.5),
    "peers_ledger.*_100000.questions*_to_shipped": Goal(20),
    "peers_ledger.*_10000.writes*_to_shipped": Goal(8),
    "peers_ledger.*_10000.writes*_to_mended": Goal(4),
    "peers_ledger.*_10000.questions*_to_shipped": Goal(4),
    "peers_ledger.*_10000.questions*_to_mended": Goal(2),
    "sdk_gate.*gate_ratio": _at_most(5),
    "sdk_gate.*allows_ratio": _at_most(8),
    "sdk_gate.*check_ratio": _at_most(8),
    "sdk_gate.*time_ratio": _at_most(1.25),
    "sdk_gate.*exceptions": _at_most(0),
    "sdk_gate.*bytes_*": _at_most(300),
    "sdk_gate.*apply_us": _at_most(50),
    "sdk_gate.*import": _at_most(15),
    "sdk_gate.*memory*": _at_most(20),
    "stream_latency.*.p50_ms_of_100": _at_most(5),
    "stream_latency.*.p99_ms_of_100": _at_most(50),
    "sdk_outage.recovery_s_worst": _at_most(3),
    "sdk_outage.reconnects_in_15s_of_*": _at_most(20),
    "sdk_outage.cuts.late_yes": _at_most(0),
    "stream_latency.withdrawal_bytes": _at_most(300),
    "stream_latency.*.last_of_1000_ms_*": _at_most(250),
    "banner.this banner.gzip bytes": _at_most(6144),
    "banner.this banner.requests": _at_most(2),
    "banner.this banner.slow: script ms": _at_most(50),
    "banner.this banner.slow: blocked beyond bare ms": _at_most(0),
    "banner.this banner.layout shift": _at_most(0),
    "banner.this banner.slow: accept ms": _at_most(100),
    "banner.this banner.after bare paint ms": _at_most(50),
    "banner.this banner.slow: after bare paint ms": _at_most(250),
    "banner.*rendered by the server, style inline.after bare paint ms": _at_most(50),
    "banner.*rendered by the server, style inline.slow: after bare paint ms": _at_most(250),
    "banner.*the best peer.*.behind": _at_most(0),
}


def judged(name: str, value: object) -> Iterator[Figure]:
    """Yield the figures under a name, each with its goal."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from judged(f"{name}.{key}", inner)
    else:
        goal = next((goal for pattern, goal in GOALS.items() if fnmatchcase(name, pattern)), None)
        yield Figure(name=name, value=value, goal=goal)
