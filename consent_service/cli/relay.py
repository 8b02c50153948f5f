"""`consent relay`: publish every change to NATS JetStream, for ever."""

import signal
from typing import Annotated

import typer

from consent_service.cli.output import DatabaseUrl, opened, reporting_errors, settings_with
from consent_service.errors import ExtraNotInstalled
from consent_service.observability import configure_logging


@reporting_errors
def relay(
    *,
    nats_url: Annotated[
        str | None, typer.Option("--nats-url", help="NATS; CONSENT_NATS_URL by default.")
    ] = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Publish every change of every tenant's ledger to NATS JetStream, until stopped. Run two: one waits."""
    settings = settings_with(database_url, nats_url=nats_url)
    configure_logging(settings.log_level)
    try:
        from consent_service.followers.relay import Relay  # noqa: PLC0415  # the extra may be missing
    except ModuleNotFoundError as error:
        if error.name != "nats":
            raise
        raise ExtraNotInstalled("nats") from None
    with opened(settings, begin=True) as deployment:
        relaying = Relay(deployment)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: relaying.stop())
        relaying.run()
