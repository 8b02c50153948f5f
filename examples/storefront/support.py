"""The support desk: bot or human first, and a handover that carries the history only where she allowed it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from examples.storefront.catalogue import readable
from examples.storefront.consent_desk import ConsentDesk
from examples.storefront.words import Words

AI, HISTORY = "ai_assistance", "support_context"


@dataclass(slots=True)
class Conversation:
    """One conversation in one browser session."""

    lines: list[tuple[str, str]] = field(default_factory=list)
    with_human: bool = False
    agent_sees: list[tuple[str, str]] = field(default_factory=list)


def say(desk: ConsentDesk, subject: str | None, talk: Conversation, text: str, words: Words) -> None:
    """Take one message of the customer and answer it: the assistant where she allowed it, else a human."""
    talk.lines.append(("you", text))
    if talk.with_human:
        talk.lines.append(("human", words["human_looks"]))
    elif subject is not None and desk.allows(subject, AI):
        talk.lines.append(("assistant", words["bot_says"]))
        desk.remember(subject, {"support_history": {"conversation": [line for _, line in talk.lines]}})
    else:
        hand_over(desk, subject, talk, words)


def hand_over(desk: ConsentDesk, subject: str | None, talk: Conversation, words: Words) -> None:
    """Bring a human in; she sees the history where the customer allowed that, else nothing."""
    talk.with_human = True
    shown: Mapping[str, Any] = {}
    if subject is not None:
        desk.remember(subject, {"support_history": {"conversation": [line for _, line in talk.lines]}})
        shown = desk.profile(subject, HISTORY)
    talk.agent_sees = [
        *[("said_before", line) for line in shown.get("support_history", {}).get("conversation", [])],
        *[("buys", readable(kind).lower()) for kind in shown.get("purchases", {}).get("favourites", [])[:3]],
    ]
    talk.lines.append(("human", words["human_knows" if talk.agent_sees else "human_says"]))
