"""Schemathesis asks our OFREP whatever its published OpenAPI 0.3.0 allows, and a lot that it does not.

`ofrep/openapi-0.3.0.yaml` is the file that github.com/open-feature/protocol publishes (Apache-2.0), as it is.
Read literally it allows no flag with a value: `codeDefaultFlag` fits every object, so that each value fits
two of the shapes of which exactly one is to fit. Its description says what is meant, and we mend that.
"""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.followers.following import Place
from tests.size import size

EXAMPLES = size(15, 60)
SHAPE = Path(__file__).parent / "ofrep" / "openapi-0.3.0.yaml"


def mended(folder: Path) -> Path:
    """The published shape in which `codeDefaultFlag` is a flag without a value, as its description says."""
    shape = yaml.safe_load(SHAPE.read_text())
    shape["components"]["schemas"]["codeDefaultFlag"]["not"] = {"required": ["value"]}
    path = folder / "shape.yaml"
    path.write_text(yaml.safe_dump(shape))
    return path


@pytest.mark.parametrize("header", ["Authorization: Bearer ", "X-API-Key: "])
def test_no_answer_leaves_the_published_shape(tmp_path: Path, header: str) -> None:
    place = Place(f"sqlite:///{tmp_path / 'consent.db'}", tmp_path)
    with place.serve() as server:
        place.decide(server, "user-123", {"coupons": "granted", "recommendations": "denied"})
        shape = mended(tmp_path)
        command = [
            *(str(Path(sys.executable).with_name("schemathesis")), "run", str(shape), "--url", server.url),
            *("--header", f"{header}{place.key}", "--checks", "all", "--phases", "examples,coverage,fuzzing"),
            *(
                "--max-examples",
                str(EXAMPLES),
                "--continue-on-failure",
                "--seed",
                "7",
                "--no-color",
                "--workers",
                "1",
            ),
        ]

        ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    place.close()

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "No issues found" in ran.stdout
