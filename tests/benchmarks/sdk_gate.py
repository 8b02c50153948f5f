"""What the SDK's gate costs beside a bare dictionary, and beside the feature-flag SDKs of others.

Everything runs in this process without a network: the others have one flag with a list of a thousand
subjects, ours the rows of a hundred thousand subjects with six purposes.
"""

import gc
import json
import logging
import os
import random
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from types import BuiltinFunctionType, FunctionType, ModuleType

import eppo_client
from consent_sdk import ConsentClient, Reason
from consent_sdk._intake import Intake
from consent_sdk._stream import Head, Header, State
from eppo_client import AssignmentLogger, ClientConfig, Configuration
from growthbook import GrowthBook
from ldclient import Context, LDClient
from ldclient.config import Config
from ldclient.integrations.test_data import TestData
from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider
from UnleashClient import UnleashClient  # type: ignore[attr-defined]  # its own way to export
from UnleashClient.cache import FileCache

from consent_service.domain.gate import Reason as ServiceReason
from consent_service.domain.gate import Verdict
from consent_service.domain.purpose import PurposeKey
from consent_service.domain.subject import SubjectRef
from consent_service.followers.changes import encode_change
from tests.benchmarks.measure import QUICK, interleaved, median, ratio

PURPOSES = ("recommendations", "coupons", "support_context", "ai_assistance", "newsletter", "advertising")
PURPOSE = PURPOSES[0]
SUBJECTS = 100_000
NS = 1e9
_LOOPS, _ENOUGH_S = 20, 0.1
_ROUNDS = 7 if QUICK else 15
_THREADS_CALLS, _THREADS_ROUNDS = 200_000, 21 if QUICK else 101
_CALLS = 2_000
_CODE = (type, ModuleType, FunctionType, BuiltinFunctionType)

Ask = Callable[[str], object]


def figures() -> dict[str, object]:
    """Return ratios to a bare dictionary look-up, nanoseconds, megabytes, bytes and microseconds."""
    logging.getLogger("consent_sdk").setLevel(logging.CRITICAL)
    client = a_client()
    known = {f"customer-{number}": True for number in range(SUBJECTS)}
    found = {
        "hot_1": times(client, known, _sample(1)),
        "hot_1000": times(client, known, _sample(1000)),
        "all_100000": times(client, known, _sample(SUBJECTS)),
        "memory_mb": memory(client),
        "peers": peers(client, known),
        "two_threads": two_threads(client),
        "withdrawal": withdrawal(client),
        "import_cpu_ms": import_cpu(),
    }
    client.close()
    return found


def a_client() -> ConsentClient:
    """A client whose copy is full and whose lease holds; it follows nobody."""
    client = ConsentClient("http://127.0.0.1:9", api_key="ck_none", preload=True, max_staleness=1e6)
    client._keeper.follower.stop()
    header = Header(head=0, purposes=frozenset(PURPOSES), ref_key=b"")
    client._keeper.copy.load(header, rows(), _ref)
    client._keeper.copy.take([Head(index=-1)], received=time.monotonic(), opened=time.monotonic())
    return client


def rows() -> Iterator[tuple[str, dict[str, State]]]:
    """One act of each subject: every purpose granted or refused, for half a year from then."""
    chance = random.Random(7)  # noqa: S311  # the same subjects each time
    now = int(time.time())
    for number in range(SUBJECTS):
        until = now + 86_400 + chance.randrange(180 * 86_400)
        yield (
            _ref(f"customer-{number}"),
            {
                purpose: (Reason.GRANTED if chance.random() < 0.5 else Reason.REFUSED, until, number)
                for purpose in PURPOSES
            },
        )


def times(client: ConsentClient, known: dict[str, bool], subjects: Sequence[str]) -> dict[str, float]:
    """Ratios to the bare look-up of the same subjects, asked for one after the other.

    What is asked for equals a key, of the dictionary as of the copy, and is another string than that: so are
    the subjects of requests.
    """
    asked = (list(subjects) * (_CALLS // len(subjects) + 1))[: max(_CALLS, len(subjects))]
    gate = client.gate(PURPOSE)
    for subject in asked:
        gate(_another(subject))
        client.check(_another(subject), PURPOSE)
    measured = interleaved(
        {
            "dict": lambda: _bare(known, asked),
            "gate": lambda: _called(gate, asked),
            "allows": lambda: _called_with(client.allows, asked),
            "check": lambda: _called_with(client.check, asked),
        },
        rounds=_ROUNDS,
    )
    found = {f"{name}_ratio": ratio(measured, name, "dict") for name in ("gate", "allows", "check")}
    return {**found, "dict_ns": median(measured["dict"]), "gate_ns": median(measured["gate"])}


def peers(client: ConsentClient, known: dict[str, bool]) -> dict[str, float]:
    """Nanoseconds of one question, everybody's own fastest way to ask, in turn."""
    subjects = _sample(1000)
    gate = client.gate(PURPOSE)
    asks: dict[str, Ask] = {
        "consent_gate": gate,
        "openfeature_floor": _openfeature(),
        "eppo": _eppo(),
        "growthbook": _growthbook(subjects),
        "launchdarkly": _launchdarkly(subjects),
        "unleash": _unleash(subjects),
    }
    measured = interleaved(
        {"dict": lambda: _bare(known, subjects)}
        | {name: (lambda ask=ask: _called(ask, subjects)) for name, ask in asks.items()},
        rounds=_ROUNDS,
    )
    return {f"{name}_ns": median(values) for name, values in measured.items()}


def two_threads(client: ConsentClient) -> dict[str, float]:
    """The time of two threads for as many calls as one makes, under changes; and how many raised.

    Threads say themselves when they began and ended: who looks whether they still run sees it late. Rounds
    are short and many, since a processor that others use too halves its speed for seconds at a time.
    """
    gate, subjects = client.gate(PURPOSE), _sample(1000)
    raised: list[BaseException] = []

    def measure(threads: int) -> float:
        began, ended = [0.0] * threads, [0.0] * threads
        start = threading.Barrier(threads)

        def work(number: int) -> None:
            start.wait()
            began[number] = time.perf_counter()
            try:
                for _ in range(_THREADS_CALLS // len(subjects) // threads):
                    for subject in subjects:
                        gate(subject)
            except BaseException as error:  # noqa: BLE001  # that is what is counted
                raised.append(error)
            ended[number] = time.perf_counter()

        working = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
        for thread in working:
            thread.start()
        while threads > 1 and any(thread.is_alive() for thread in working):
            _withdraw(client, subjects[0])
            time.sleep(0.01)
        for thread in working:
            thread.join()
        return max(ended) - min(began)

    variants = {"alone": lambda: measure(1), "together": lambda: measure(2)}
    measured = interleaved(variants, rounds=_THREADS_ROUNDS)
    return {"time_ratio": ratio(measured, "together", "alone"), "exceptions": float(len(raised))}


def memory(client: ConsentClient) -> float:
    """Megabytes of everything that the copy holds, everybody asked about by their ids; ids included."""
    copy = client._keeper.copy
    assert len(copy) == len(copy.conclusions.limits) == SUBJECTS
    found: dict[int, object] = {}
    waiting: list[object] = [copy]
    while waiting:
        each = waiting.pop()
        if id(each) not in found and not isinstance(each, _CODE):
            found[id(each)] = each
            waiting.extend(gc.get_referents(each))
    return round(sum(map(sys.getsizeof, found.values())) / 1e6, 1)


def withdrawal(client: ConsentClient) -> dict[str, float]:
    """One withdrawal: bytes of one of one purpose and of six, microseconds from bytes to closed gates."""
    subjects = [f"customer-{number}" for number in range(2_000)]
    spent = [_withdraw(client, subject) for subject in subjects]
    assert not any(client.allows(subject, PURPOSE) for subject in subjects)
    return {
        "bytes_one_purpose": float(len(_event(10_000_000, subjects[0], PURPOSES[:1]))),
        "bytes_six_purposes": float(len(_event(10_000_000, subjects[0], PURPOSES))),
        "apply_us": median(spent),
    }


def _withdraw(client: ConsentClient, subject: str) -> float:
    """Let the stream tell of a withdrawal; return the microseconds it works until every gate knows."""
    copy = client._keeper.copy
    intake = Intake(copy, client._keeper.notify, opened=time.monotonic())
    assert copy.cursor is not None
    event = _event(copy.cursor + 1, subject, PURPOSES[:1])
    began = time.thread_time()
    intake.take(event, received=time.monotonic())
    return (time.thread_time() - began) * 1e6


def _event(index: int, subject: str, purposes: Sequence[str]) -> bytes:
    """What the service sends of a withdrawal."""
    until = datetime.fromtimestamp(1_800_000_000, UTC)
    withdrawn = Verdict(allowed=False, reason=ServiceReason.WITHDRAWN, valid_until=until)
    row = (SubjectRef(_ref(subject)), {PurposeKey(purpose): withdrawn for purpose in purposes})
    return encode_change(index, [row], bytes(32))


def _ref(subject: str) -> str:
    """A reference as long as a real one."""
    return f"s_{subject:-<24}"


def import_cpu() -> dict[str, float]:
    """Milliseconds of CPU time that the import adds to an empty interpreter; median of 15."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

    def cpu(program: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", program], check=True, env=environment)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e3

    cpu("import consent_sdk")
    measured = interleaved({"empty": lambda: cpu(""), "sdk": lambda: cpu("import consent_sdk")}, rounds=15)
    return {"import": round(median(measured["sdk"]) - median(measured["empty"]), 1)}


def _another(text: str) -> str:
    """Return a string that is equal and not the same."""
    return text[:1] + text[1:]


def _sample(count: int) -> list[str]:
    return [f"customer-{number}" for number in random.Random(3).sample(range(SUBJECTS), count)]  # noqa: S311  # as above


def _best(once: Callable[[], object], calls: int) -> float:
    """Nanoseconds of processor time of a call in the least disturbed of many short runs."""
    spent: list[float] = []
    while len(spent) < max(1, _LOOPS * _CALLS // calls) and sum(spent) < _ENOUGH_S:
        began = time.thread_time()
        once()
        spent.append(time.thread_time() - began)
    return min(spent) / calls * NS


def _bare(known: dict[str, bool], subjects: Sequence[str]) -> float:
    def once() -> None:
        for subject in subjects:
            known[subject]

    return _best(once, len(subjects))


def _called(ask: Ask, subjects: Sequence[str]) -> float:
    def once() -> None:
        for subject in subjects:
            ask(subject)

    return _best(once, len(subjects))


def _called_with(ask: Callable[[str, str], object], subjects: Sequence[str]) -> float:
    def once() -> None:
        for subject in subjects:
            ask(subject, PURPOSE)

    return _best(once, len(subjects))


def _openfeature() -> Ask:
    flag = InMemoryFlag("on", {"on": True, "off": False})
    api.set_provider_and_wait(InMemoryProvider({PURPOSE: flag}))
    client = api.get_client()
    return lambda subject: client.get_boolean_value(PURPOSE, False, EvaluationContext(targeting_key=subject))


def _eppo() -> Ask:
    """A flag for everybody: Eppo has no lists of subjects, and its evaluation is in Rust."""
    everybody = {"key": "all", "rules": [], "splits": [{"variationKey": "on", "shards": []}], "doLog": False}
    flag = {
        "key": PURPOSE,
        "enabled": True,
        "variationType": "BOOLEAN",
        "variations": {"on": {"key": "on", "value": True}},
        "allocations": [everybody],
        "totalShards": 10_000,
    }
    document = {
        "createdAt": "2026-01-01T00:00:00Z",
        "format": "SERVER",
        "environment": {"name": "benchmark"},
        "flags": {PURPOSE: flag},
        "bandits": {},
        "banditReferences": {},
    }
    client = eppo_client.init(
        ClientConfig(
            api_key="none",
            assignment_logger=AssignmentLogger(),
            initial_configuration=Configuration(flags_configuration=json.dumps(document).encode()),
            poll_interval_seconds=None,
        )
    )
    assert client.get_boolean_assignment(PURPOSE, "customer-1", {}, False)
    return lambda subject: client.get_boolean_assignment(PURPOSE, subject, {}, False)


def _growthbook(subjects: Sequence[str]) -> Ask:
    rule = {"condition": {"id": {"$in": list(subjects)}}, "force": True}
    book = GrowthBook(features={PURPOSE: {"defaultValue": False, "rules": [rule]}})

    def ask(subject: str) -> bool:
        book.set_attributes({"id": subject})
        return bool(book.is_on(PURPOSE))

    return ask


def _launchdarkly(subjects: Sequence[str]) -> Ask:
    data = TestData.data_source()
    flag = data.flag(PURPOSE).boolean_flag().fallthrough_variation(False)
    for subject in subjects:
        flag = flag.variation_for_user(subject, True)
    data.update(flag)
    client = LDClient(Config("sdk-none", update_processor_class=data, send_events=False))
    return lambda subject: client.variation(PURPOSE, Context.create(subject), False)


def _unleash(subjects: Sequence[str]) -> Ask:
    cache = FileCache("consent-benchmark")
    strategy = {"name": "userWithId", "parameters": {"userIds": ",".join(subjects)}}
    feature = {"name": PURPOSE, "enabled": True, "strategies": [strategy]}
    cache.bootstrap_from_dict({"version": 1, "features": [feature]})
    client = UnleashClient(
        "http://127.0.0.1:9",
        "benchmark",
        disable_metrics=True,
        disable_registration=True,
        cache=cache,
        refresh_interval=86_400,
    )
    client.initialize_client(fetch_toggles=False)
    return lambda subject: client.is_enabled(PURPOSE, {"userId": subject})
