"""The page of figures: every goal of a benchmark has its words and its row, and every benchmark a goal."""

import json
import pkgutil
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

import tests.benchmarks
from tests.benchmarks.goals import GOALS, judged
from tools import performance
from tools.performance import MEASURED, TESTED, WORDS

ROOT = Path(__file__).parents[2]
BENCHMARKS = {
    module.name
    for module in pkgutil.iter_modules(tests.benchmarks.__path__)
    if "\ndef figures() ->" in Path(tests.benchmarks.__file__).with_name(f"{module.name}.py").read_text()
}
RUN = {
    "figures": {"serving": {"start_seconds": 2.5, "idle_rss_mib": 99.0}},
    "failed": {"banner": "no browser"},
}


def test_every_goal_has_its_words() -> None:
    assert WORDS.keys() == GOALS.keys()


def test_goals_are_about_benchmarks_that_there_are() -> None:
    assert {pattern.partition(".")[0] for pattern in GOALS} <= BENCHMARKS


def test_a_benchmark_of_the_last_run_gave_every_figure_that_has_a_goal() -> None:
    run = json.loads(MEASURED.read_text())
    names = [each.name for name, value in run["figures"].items() for each in judged(name, value)]
    quick = run["machine"]["size"] == "quick"  # which leaves the large sizes out

    assert [
        pattern
        for pattern in GOALS
        if pattern.partition(".")[0] in run["figures"] and not (quick and "_100000." in pattern)
        if not any(fnmatchcase(name, pattern) for name in names) and pattern.count("*") < 2
    ] == []


def test_the_page_says_what_is_not_met_and_what_was_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(performance, "MEASURED", tmp_path / "run.json")
    (tmp_path / "run.json").write_text(json.dumps(RUN))

    table = performance.performance()

    assert "| `serving.start_seconds` | at most 2 | 2.5 | **no** |" in table
    assert "| `serving.idle_rss_mib` | at most 120 | 99.0 | yes |" in table
    assert "| `serving.rss_grown_mib` | at most 30 | not in this run | |" in table
    assert performance.performance_run() == "- banner gave no figures: no browser\n"


def test_every_figure_that_a_test_holds_names_a_test() -> None:
    for test in TESTED.values():
        path, _, name = test.partition("::")
        assert f"def {name}(" in (ROOT / path).read_text()
