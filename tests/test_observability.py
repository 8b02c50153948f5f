"""Log lines are JSON, ours and everybody else's, and carry no values."""

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest

from consent_service.observability import configure_logging, logger


@pytest.fixture(autouse=True)
def put_back() -> Iterator[None]:
    """Leave the root logger as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers = handlers
    root.setLevel(level)


def logged(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def a_failure(message: str) -> Exception:
    with pytest.raises(ValueError, match=message) as failure:
        int(message)
    return failure.value


def test_what_another_package_logs_is_kept_without_its_values(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info")

    logging.getLogger("asyncio").error("Task was lost\n%s", "canary", exc_info=a_failure("canary"))
    logging.getLogger("some.driver").warning("Cannot reach %s", "canary")
    logging.getLogger("some.driver").info("All is well")

    first, second = logged(capsys)
    assert (first["event"], first["exception"], first["logger"]) == ("Task was lost", "ValueError", "asyncio")
    assert (second["event"], second["level"]) == ("Cannot reach %s", "warning")
    assert "canary" not in json.dumps([first, second])


def test_our_own_lines_name_an_exception_and_its_places_not_its_words(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging("info")

    logger.error("bug", error="ValueError", exc_info=a_failure("canary"))

    (line,) = logged(capsys)
    assert line["exception"] == "ValueError"
    assert "a_failure" in str(line["trace"])
    assert "canary" not in str(line)


def test_the_servers_own_lines_are_kept_whole_and_once(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info")
    configure_logging("info")

    logging.getLogger("uvicorn.error").info("Uvicorn running on http://%s:%d", "127.0.0.1", 8000)

    assert [line["event"] for line in logged(capsys)] == ["Uvicorn running on http://127.0.0.1:8000"]


def test_the_level_of_an_earlier_server_in_this_process_does_not_stay(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)

    configure_logging("info")
    logging.getLogger("uvicorn.error").info("Uvicorn running")

    assert [line["event"] for line in logged(capsys)] == ["Uvicorn running"]


def test_a_higher_level_hides_what_is_below(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("error")

    logging.getLogger("uvicorn.error").info("Uvicorn running")
    logger.warning("less")

    assert logged(capsys) == []


def test_a_line_goes_to_the_standard_error_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    configure_logging("info")
    now = io.StringIO()
    monkeypatch.setattr(sys, "stderr", now)

    logger.info("hello")

    assert json.loads(now.getvalue())["event"] == "hello"
