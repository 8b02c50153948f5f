"""Processes that append at once, started by `test_many_writers.py`: prints what was acknowledged to whom.

`python -m tests.faults.writers DATABASE_URL HOME PROCESSES APPENDS NOTICE`
"""

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic import SecretStr

from consent_service.operations.manage_tenants import require_tenant
from consent_service.operations.record_decision import DecisionAnswer, RecordDecision
from consent_service.operations.service import ConsentService
from consent_service.settings import Settings
from tests.builders import a_decision
from tests.faults.crowd import CHOICES


async def _append_all(service: ConsentService, writer: int, appends: int, notice: str) -> None:
    tenant = require_tenant(service.deployment, "default")
    told = [(f"writer-{writer}-{number % 20}", CHOICES[number % 2]) for number in range(appends)]
    requests = [
        RecordDecision(
            subject=tenant.subject(subject),
            decision=a_decision({"coupons": choice}, notice=notice, decided_at=datetime.now(UTC)),
            limits=service.settings.decision_limits,
        )
        for subject, choice in told
    ]
    answers = await asyncio.gather(*(service.committer.submit(tenant, request) for request in requests))
    lines = []
    for (subject, choice), answer in zip(told, answers, strict=True):
        assert isinstance(answer, DecisionAnswer)
        lines.append(json.dumps([answer.index, subject, choice]) + "\n")
    os.write(1, "".join(lines).encode())


def main(database_url: str, home: str, processes: int, appends: int, notice: str) -> int:
    """Fork the processes, which wait for each other at the start; return how many failed."""
    settings = Settings(home=Path(home), database_url=SecretStr(database_url))
    waiting, go = os.pipe()
    children: list[int] = []
    for writer in range(processes):
        child = os.fork()
        if child == 0:
            os.close(go)
            service = ConsentService.open(settings)
            os.read(waiting, 1)  # The end of the pipe: everybody may begin.
            asyncio.run(_append_all(service, writer, appends, notice))
            service.close()
            os._exit(0)
        children.append(child)
    os.close(go)
    return _failed(children)


def _failed(children: Sequence[int]) -> int:
    return sum(os.waitpid(child, 0)[1] != 0 for child in children)


sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]))
