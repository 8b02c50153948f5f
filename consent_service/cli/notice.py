"""`consent notice`: check the one file a shop writes, and publish it."""

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from consent_service.cli.output import (
    AsJson,
    DatabaseUrl,
    TenantName,
    answer,
    complaints,
    listed,
    opened,
    reporting_errors,
    settings_with,
)
from consent_service.domain.notice import Notice
from consent_service.errors import InvalidInput, NoDatabase, NoticeProblem
from consent_service.operations.committer import Committer
from consent_service.operations.manage_tenants import find_tenant, require_tenant
from consent_service.operations.notice_book import PublishedNotice
from consent_service.operations.publish_notice import PublishNotice, notice_document, require_publishable
from consent_service.operations.read_notice_file import read_notice_file

app = typer.Typer(help="The words subjects are shown, from one YAML file.", no_args_is_help=True)
NoticeFile = Annotated[Path, typer.Argument(help="Notice in YAML, see docs/reference/notice-format.md.")]


def _load(path: Path) -> tuple[Notice, list[NoticeProblem]]:
    """Return the notice and the doubts about its words, which are told to whoever publishes it."""
    try:
        notice, doubts = read_notice_file(path.read_bytes())
    except OSError as error:
        raise InvalidInput(f"Cannot read {path}: {error.strerror}.") from None
    for doubt in doubts:
        complaints.print(f"Read this again: {doubt}", markup=False, highlight=False, soft_wrap=True)
    return notice, doubts


@app.command("publish")
@reporting_errors
def publish(
    file: NoticeFile, *, tenant: TenantName = None, as_json: AsJson = False, database_url: DatabaseUrl = None
) -> None:
    """Publish a notice: an immutable version, and an entry in the ledger."""
    notice, _ = _load(file)
    settings = settings_with(database_url)
    with opened(settings, begin=True) as deployment:
        owner = require_tenant(deployment, tenant or settings.tenant)
        committer = Committer(deployment)
        try:
            published = committer.submit_blocking(owner, PublishNotice(notice=notice))
        finally:
            committer.close()
        if not isinstance(published, PublishedNotice):
            raise TypeError("a publication was answered as something else")
        document = {
            "digest": published.digest,
            "index": published.index,
            "languages": list(published.notice.languages),
        }
        answer(document, as_json=as_json, text=f"Notice {published.digest} is entry {published.index}.")


@app.command("lint")
@reporting_errors
def lint(
    file: NoticeFile, *, tenant: TenantName = None, as_json: AsJson = False, database_url: DatabaseUrl = None
) -> None:
    """Run every check of publication without publishing; exit code 1 and what to mend if one fails.

    Words that may tie one choice to another are named, too, and forbid nothing.
    """
    notice, doubts = _load(file)
    settings = settings_with(database_url)
    with suppress(NoDatabase), opened(settings) as deployment:
        owner = find_tenant(deployment, tenant or settings.tenant)
        if owner is not None:
            with deployment.reading(owner) as scope:
                require_publishable(notice, deployment.book(scope))
    _, digest = notice_document(notice)
    document = {
        "digest": digest,
        "purposes": list(notice.purposes),
        "languages": list(notice.languages),
        "doubts": listed(doubts),
    }
    answer(document, as_json=as_json, text=f"{file} may be published; its digest is {digest}.")
