"""Settings, read once from `CONSENT_*` variables (or a `.env` file) into one frozen value."""

import difflib
from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, DotEnvSettingsSource, EnvSettingsSource, SettingsConfigDict

from consent_service.domain.decision import DecisionLimits

LONGEST_GRACE = 3650
"""Days that a closed grant may keep its keys at most."""
LONGEST_EVIDENCE = 36_500
"""Days that proof of an erased subject's consents may be kept at most."""


_PREFIX = "CONSENT_"
_OF_THE_SDK = frozenset(
    {
        "api_key",
        "cache_size",
        "client",
        "max_staleness",
        "miss_timeout",
        "preload",
        "stream",
        "strict",
        "subject",
        "timeout",
        "url",
    }
)
_LIKE = 0.8
"""How much a misspelt name has in common with the right one: DATABASE and DATABASE_URL, not HOST and HOME."""


class Settings(BaseSettings):
    """Every setting of the service; the variable is `CONSENT_` and the name in capitals."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    home: Path = Field(default=Path(".consent"), description="Folder of the SQLite file and the key file.")
    database_url: SecretStr | None = Field(
        default=None,
        description="Database instead of SQLite in the home folder: sqlite:///… or postgresql://….",
    )
    key_file: Path | None = Field(
        default=None, description="Root key file, mode 0600; `root.key` in the home folder by default."
    )
    keystore: str | None = Field(
        default=None,
        description="Where root keys live instead of the key file: openbao+https://…, pkcs11:…, aws-kms:….",
    )
    keystore_secret: SecretStr | None = Field(
        default=None, description="Token or PIN that opens the keystore, where it needs one."
    )
    signing_in_keystore: bool = Field(
        default=False, description="Make new ledger signing keys in the keystore, which they never leave."
    )
    grace_days: Annotated[int, Field(ge=0, le=LONGEST_GRACE)] = Field(
        default=30,
        description="Days that an expired or outdated grant keeps its keys; a tenant may have its own.",
    )
    evidence_key: str | None = Field(
        default=None,
        description="Auditor's X25519 public key (base64): proof of erased consents is sealed to it; "
        "a tenant may have its own.",
    )
    evidence_days: Annotated[int, Field(ge=1, le=LONGEST_EVIDENCE)] = Field(
        default=5 * 365, description="Days that such proof is kept."
    )
    uses_limit: Annotated[int, Field(ge=0)] = Field(
        default=100_000, description="Counts of uses that may wait to be stored before new ones are dropped."
    )
    uses_days: Annotated[int, Field(ge=1, le=3650)] = Field(
        default=400, description="Days that uses are kept for the subject to see."
    )
    epoch_days: Annotated[int, Field(ge=1, le=3650)] = Field(
        default=30, description="Days until a tenant key is replaced and what was deleted is gone everywhere."
    )
    tenant: str = Field(default="default", description="Tenant that the command line works on.")
    log_origin: str = Field(
        default="consent.local",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$",
        description="Names new logs: a tenant's checkpoint origin is this, a slash and the tenant's name.",
    )
    ledger_public: bool = Field(
        default=False, description="Serve checkpoint, tiles and proofs without a credential."
    )
    queue_limit: Annotated[int, Field(ge=1)] = Field(
        default=4096, description="Decisions that may wait for the committer before new ones get 503."
    )
    batch_limit: Annotated[int, Field(ge=1, le=4096)] = Field(
        default=256, description="Requests that one transaction commits together, at most."
    )
    max_body_bytes: Annotated[int, Field(ge=1024)] = Field(
        default=65_536, description="Largest request body in bytes, except of those below."
    )
    max_batch_bytes: Annotated[int, Field(ge=1024)] = Field(
        default=4_194_304,
        description="Largest body in bytes of a batch of decisions, a notice, a profile, a query "
        "for profiles or a report of uses.",
    )
    clock_ahead_seconds: Annotated[int, Field(ge=0)] = Field(
        default=300, description="How far a subject's clock may run ahead of ours."
    )
    clock_behind_seconds: Annotated[int, Field(ge=0)] = Field(
        default=30 * 86_400, description="How long ago a decision may have been made."
    )
    superseded_seconds: Annotated[int, Field(ge=0)] = Field(
        default=86_400, description="How long decisions under a superseded notice are still accepted."
    )
    subject_token_seconds: Annotated[int, Field(ge=30, le=86_400)] = Field(
        default=900, description="Life of a subject token."
    )
    idempotency_seconds: Annotated[int, Field(ge=60)] = Field(
        default=7 * 86_400, description="How long the answer to an idempotency key is kept."
    )
    credential_cache_seconds: Annotated[float, Field(ge=0, le=60)] = Field(
        default=1.0, description="How long a credential is trusted before it is looked up again."
    )
    preferences_url: str | None = Field(
        default=None,
        pattern=r"^https?://[!-~]{1,500}$",
        description="Where a subject changes her choices, on receipts; the notice's own page if absent.",
    )
    storage_country: str | None = Field(
        default=None,
        pattern=r"^[A-Z]{2}$",
        description="Country where personal data is kept (ISO 3166-1), named on receipts.",
    )
    pdf_font: Path | None = Field(
        default=None, description="TrueType font of PDF receipts; Noto Sans of the extra `pdf` by default."
    )
    stream_subscribers: Annotated[int, Field(ge=1)] = Field(
        default=2048, description="Streams that one process serves at once before new ones get 503."
    )
    stream_replay: Annotated[int, Field(ge=64, le=1_000_000)] = Field(
        default=16_384,
        description="Entries that a stream makes up for; whoever was away longer is told to begin anew.",
    )
    stream_write_seconds: Annotated[float, Field(gt=0)] = Field(
        default=5.0, description="How long a stream's reader may take no bytes before it is cut off."
    )
    nats_url: SecretStr | None = Field(
        default=None,
        description="NATS servers that `consent relay` publishes to: nats://…, tls://…; commas between them.",
    )
    nats_credentials: Path | None = Field(
        default=None, description="The relay's NATS credentials file (.creds), where NATS asks for one."
    )
    nats_days: Annotated[int, Field(ge=1, le=3650)] = Field(
        default=7, description="Days that NATS keeps entries for followers that come back."
    )
    nats_replicas: Annotated[int, Field(ge=1, le=5)] = Field(
        default=1, description="Servers of a NATS cluster that keep each entry."
    )
    witnesses: Path | None = Field(
        default=None,
        description="File (C2SP tlog-policy) of the witnesses that cosign checkpoints and where they are.",
    )
    cosign_seconds: Annotated[float, Field(gt=0, le=86_400)] = Field(
        default=10.0, description="Seconds between two checkpoints that are sent to the witnesses, about."
    )
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$", description="Log level.")
    lock_seconds: Annotated[float, Field(gt=0, le=300)] = Field(
        default=10.0,
        description="How long to wait for another one's lock or connection before the caller gets 503.",
    )
    pool_size: Annotated[int, Field(ge=1, le=100)] = Field(
        default=8, description="Database connections kept open by one process."
    )

    @property
    def resolved_database_url(self) -> SecretStr:
        """The database URL in force."""
        return self.database_url or SecretStr(f"sqlite:///{self.home / 'consent.db'}")

    @property
    def resolved_key_file(self) -> Path:
        """The root key file in force."""
        return self.key_file or self.home / "root.key"

    @property
    def resolved_keystore(self) -> str:
        """The location of the keystore in force."""
        return self.keystore or str(self.resolved_key_file)

    @property
    def idempotency_kept(self) -> timedelta:
        """How long the answer to an idempotency key is kept."""
        return timedelta(seconds=self.idempotency_seconds)

    @property
    def decision_limits(self) -> DecisionLimits:
        """The limits of decision clocks and superseded notices."""
        return DecisionLimits(
            clock_ahead=timedelta(seconds=self.clock_ahead_seconds),
            clock_behind=timedelta(seconds=self.clock_behind_seconds),
            superseded=timedelta(seconds=self.superseded_seconds),
        )


class WitnessSettings(BaseSettings):
    """Every setting of a witness; the variable is `CONSENT_WITNESS_` and the name in capitals."""

    model_config = SettingsConfigDict(
        env_prefix="CONSENT_WITNESS_", env_ignore_empty=True, extra="ignore", frozen=True
    )

    home: Path = Field(default=Path(".witness"), description="Folder of the witness's key and what it saw.")
    name: str = Field(
        default="witness.local",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$",
        description="Name of the witness in its cosignatures.",
    )
    logs: str = Field(default="", description="Keys of the logs that it watches, separated by spaces.")


def misspelt() -> dict[str, str]:
    """Return the variables that are no setting but look like one, each with the one that is probably meant.

    Other `CONSENT_*` variables are somebody else's: the SDK's, a shop's own, those that Kubernetes makes.
    """
    prefix = _PREFIX.lower()
    given = {**EnvSettingsSource(Settings).env_vars, **DotEnvSettingsSource(Settings).env_vars}
    names = {key.lower().removeprefix(prefix) for key in given if key.lower().startswith(prefix)}
    witness = {f"witness_{name}" for name in WitnessSettings.model_fields}
    meant = {}
    for name in sorted(names - _OF_THE_SDK - witness - Settings.model_fields.keys()):
        if close := difflib.get_close_matches(name, Settings.model_fields, n=1, cutoff=_LIKE):
            meant[f"{_PREFIX}{name.upper()}"] = f"{_PREFIX}{close[0].upper()}"
    return meant
