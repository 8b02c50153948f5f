"""A robot that refuses for people, DuckDuckGo's autoconsent, refuses here in one click."""

import json
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect

from consent_service.web.honesty.bench import choices, layer_one
from tests.browser.bench import ShopBench
from tests.servers import wait_until

JS = Path(__file__).parents[2] / "sdk" / "js"
ROBOT = JS / "node_modules" / "@duckduckgo" / "autoconsent" / "dist" / "autoconsent.playwright.js"
RULE: dict[str, Any] = json.loads((JS / "autoconsent.json").read_text("utf-8"))
CONFIG = {
    "enabled": True,
    "autoAction": "optOut",
    "disabledCmps": [],
    "enablePrehide": False,
    "enableCosmeticRules": False,
    "enableGeneratedRules": False,
    "detectRetries": 20,
    "isMainWorld": True,
    "prehideTimeout": 2000,
}


def test_the_refusing_robot_refuses_with_one_click(bench: ShopBench) -> None:
    assert ROBOT.exists(), "the robot comes with npm: make js"
    heard: list[dict[str, Any]] = []

    def employ(page: Page) -> None:
        def answer(message: dict[str, Any]) -> None:
            heard.append(message)

        page.expose_function("autoconsentSendMessage", answer)

    page = bench.visit(prepare=employ)
    page.evaluate(ROBOT.read_text("utf-8"))

    rules = {"autoconsent": [RULE]}
    page.evaluate(
        "(message) => window.autoconsentReceiveMessage(message)",
        {"type": "initResp", "config": CONFIG, "rules": rules},
    )
    expect(layer_one(page)).to_be_hidden()
    page.evaluate("(message) => window.autoconsentReceiveMessage(message)", {"type": "selfTest"})
    wait_until(
        lambda: page.evaluate("true") and any(message["type"] == "selfTestResult" for message in heard),
        what="the robot's self-test",
    )

    kinds = {message["type"]: message for message in heard}
    assert kinds["popupFound"]["cmp"] == "consent-toolkit"
    assert kinds["optOutResult"]["result"] is True
    assert kinds["selfTestResult"]["result"] is True
    assert not any(choices(page).values())
