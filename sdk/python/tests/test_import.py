"""What an import costs: one dependency, and even that only when a client first needs the network."""

import subprocess
import sys
from importlib.metadata import requires

from live_service import LiveService, a_live_service

HEAVY = {
    *(
        "asyncio",
        "dataclasses",
        "email",
        "http",
        "inspect",
        "json",
        "logging",
        "re",
        "socket",
        "ssl",
        "threading",
        "typing",
    ),
    *("httpx2", "nats", "fastapi", "django", "flask", "openfeature", "cryptography", "pytest"),
    *("consent_sdk.aio", "consent_sdk._gatekeeper", "consent_sdk._copy", "consent_sdk._follower"),
    "consent_sdk._uses",
}


def loaded_by(program: str) -> set[str]:
    """The modules that are there after a program, beyond those of an empty one; -S leaves site's out."""
    found = []
    for text in ("", program):
        search = f"import sys; sys.path[:0] = {[path for path in sys.path if path]!r}\n"
        command = [sys.executable, "-S", "-c", f"{search}{text}\nprint(*sys.modules)"]
        found.append(set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()))
    return found[1] - found[0]


def test_an_import_brings_nothing_that_is_slow_to_import() -> None:
    loaded = loaded_by("import consent_sdk")

    assert "consent_sdk.client" in loaded
    assert loaded & HEAVY == set()


def test_the_network_is_imported_when_a_client_first_needs_it() -> None:
    with a_live_service() as service:
        loaded = loaded_by(
            client_of(service, "off") + "assert 'httpx2' not in sys.modules; client.allows('a', 'b')"
        )
        followed = loaded_by(client_of(service, "sse") + "assert client.wait_until_ready(20)")

    assert "httpx2" in loaded
    assert "httpx2" in followed
    assert not {"nats", "consent_sdk._over_nats"} & (loaded | followed)


def client_of(service: LiveService, stream: str) -> str:
    options = f"{service.url!r}, api_key='ck_test', stream={stream!r}"
    return f"import sys, consent_sdk; client = consent_sdk.ConsentClient({options}); "


def test_there_is_one_runtime_dependency() -> None:
    needed = [line for line in requires("consent-sdk") or [] if "extra ==" not in line]

    assert [line.partition(">=")[0] for line in needed] == ["httpx2"]
