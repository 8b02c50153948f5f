"""Root keys in AWS KMS: one customer managed key a version, and an alias on the newest.

    version of these bytes (1) = 0x01 | length of the key id (1) | key id | ciphertext of KMS

KMS's own rotation keeps old key material for ever, so each version is a key of its own, and the tag
`consent-previous` leads from one to the version before. A destroyed version is unusable at once, and gone
after KMS's shortest waiting time, seven days. Credentials come from boto3's own chain. CloudTrail logs the
context; it names a tenant and a version, never a subject.
"""

import base64
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from consent_service.errors import ConfigurationError, KeystoreUnavailable, WrongKey

if TYPE_CHECKING:
    from types_boto3_kms import KMSClient
    from types_boto3_kms.type_defs import TagTypeDef

_FORMAT = b"\x01"
_PREVIOUS = "consent-previous"
_WAITING_DAYS = 7
_CONFIG = Config(connect_timeout=5, read_timeout=5, retries={"total_max_attempts": 2})
_NOT_OPENED = frozenset({"InvalidCiphertextException", "IncorrectKeyException", "NotFoundException"})
_REFUSED = frozenset({"AccessDeniedException", "UnrecognizedClientException", "InvalidClientTokenId"})
_GONE = frozenset({"KMSInvalidStateException", "DisabledException"})
_DYING = frozenset({"PendingDeletion", "PendingReplicaDeletion"})


class AwsKmsKeystore:
    """Symmetric KMS keys under one alias; safe for several threads."""

    def __init__(self, client: "KMSClient", *, alias: str) -> None:
        self._client = client
        self._alias = f"alias/{alias}"

    @classmethod
    def open(cls, *, region: str, alias: str, create: bool, endpoint: str | None = None) -> "AwsKmsKeystore":
        """Open the keys under `alias` in `region`; with `create`, make the first when there is none.

        Raises as `Keystore`.
        """
        store = cls(
            boto3.client("kms", region_name=region, endpoint_url=endpoint, config=_CONFIG), alias=alias
        )
        if store._find() is None:
            if not create:
                raise WrongKey(f"AWS KMS has no {store._alias}: restore it, or start on an empty database.")
            store._create_first()
        return store

    def __repr__(self) -> str:
        return f"AwsKmsKeystore(alias={self._alias!r})"

    @property
    def current(self) -> str:
        """The id of the key under which `wrap` wraps now."""
        found = self._find()
        if found is None:
            raise WrongKey(f"AWS KMS has no {self._alias} any more: restore it.")
        return found

    def wrap(self, key: bytes, *, context: bytes) -> bytes:
        """Return `key` encrypted by KMS under the newest version."""
        version = self.current
        try:
            answer = self._client.encrypt(KeyId=version, Plaintext=key, EncryptionContext=_context(context))
        except (ClientError, BotoCoreError) as error:
            raise _fact(error) from None
        return _FORMAT + bytes([len(version)]) + version.encode() + answer["CiphertextBlob"]

    def unwrap(self, wrapped: bytes, *, context: bytes) -> bytes:
        """Return the key that `wrap` was given; raise `WrongKey` when KMS does not open it."""
        version = self.version_of(wrapped)
        blob = wrapped[2 + len(version) :]
        try:
            answer = self._client.decrypt(
                KeyId=version, CiphertextBlob=blob, EncryptionContext=_context(context)
            )
        except (ClientError, BotoCoreError) as error:
            raise _fact(error) from None
        return answer["Plaintext"]

    def version_of(self, wrapped: bytes) -> str:
        """Return the key id that `wrapped` names; raise `WrongKey` when it names none."""
        size = wrapped[1] if len(wrapped) > 1 else 0
        if (
            wrapped[:1] != _FORMAT
            or not size
            or len(wrapped) <= 2 + size
            or not wrapped[2 : 2 + size].isascii()
        ):
            raise WrongKey("A wrapped key in the database is damaged, or of another keystore.")
        return wrapped[2 : 2 + size].decode("ascii")

    def rotate(self) -> str:
        """Make a key, move the alias to it and return its id; older keys still unwrap."""
        previous = self.current
        try:
            version = self._create_key(previous)
            self._client.update_alias(AliasName=self._alias, TargetKeyId=version)
        except (ClientError, BotoCoreError) as error:
            raise _fact(error) from None
        return version

    def destroy_before(self, version: str) -> None:
        """Have every key older than `version` destroyed: unusable at once, gone in seven days."""
        older = self._older(version)
        try:
            for key in reversed(older):  # the oldest first, so that a killed run leaves a chain to follow
                if self._client.describe_key(KeyId=key)["KeyMetadata"].get("KeyState") not in _DYING:
                    self._client.schedule_key_deletion(KeyId=key, PendingWindowInDays=_WAITING_DAYS)
        except (ClientError, BotoCoreError) as error:
            raise _fact(error) from None

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _find(self) -> str | None:
        try:
            return self._client.describe_key(KeyId=self._alias)["KeyMetadata"]["KeyId"]
        except (ClientError, BotoCoreError) as error:
            if _code(error) == "NotFoundException":
                return None
            raise _fact(error) from None

    def _create_first(self) -> None:
        try:
            version = self._create_key(previous="")
            try:
                self._client.create_alias(AliasName=self._alias, TargetKeyId=version)
            except (
                self._client.exceptions.AlreadyExistsException
            ):  # another process was first: its key is the key
                self._client.schedule_key_deletion(KeyId=version, PendingWindowInDays=_WAITING_DAYS)
        except (ClientError, BotoCoreError) as error:
            raise _fact(error) from None

    def _create_key(self, previous: str) -> str:
        tags: list[TagTypeDef] = [{"TagKey": "consent-alias", "TagValue": self._alias}]
        if previous:
            tags.append({"TagKey": _PREVIOUS, "TagValue": previous})
        answer = self._client.create_key(
            Description="Root key of a Consent Toolkit service", KeySpec="SYMMETRIC_DEFAULT", Tags=tags
        )
        return answer["KeyMetadata"]["KeyId"]

    def _older(self, version: str) -> list[str]:
        """Return the versions before `version`, newest first, as far back as KMS still knows them."""
        older: list[str] = []
        try:
            while (before := self._version_before(version)) and before not in older:
                older.append(before)
                version = before
        except (ClientError, BotoCoreError) as error:
            if _code(error) != "NotFoundException":
                raise _fact(error) from None
        return older

    def _version_before(self, version: str) -> str:
        tags = self._client.list_resource_tags(KeyId=version)["Tags"]
        return next((tag["TagValue"] for tag in tags if tag["TagKey"] == _PREVIOUS), "")


def open_location(location: str, *, secret: str, create: bool) -> AwsKmsKeystore:  # noqa: ARG001 - boto3 finds its own
    """Open `aws-kms:region/alias`, with `?endpoint=URL` for a server that answers like KMS."""
    path, _, query = location.removeprefix("aws-kms:").partition("?")
    region, _, alias = path.partition("/")
    if not (region and alias):
        raise ConfigurationError("An AWS KMS keystore is aws-kms:region/alias.")
    endpoint = parse_qs(query).get("endpoint", [None])[0]
    return AwsKmsKeystore.open(region=region, alias=alias, create=create, endpoint=endpoint)


def _context(context: bytes) -> dict[str, str]:
    return {"consent": base64.b64encode(context).decode("ascii")}


def _code(error: ClientError | BotoCoreError) -> str:
    return error.response["Error"].get("Code", "") if isinstance(error, ClientError) else ""


def _fact(error: ClientError | BotoCoreError) -> ConfigurationError | KeystoreUnavailable:
    code = _code(error)
    if code in _NOT_OPENED | _GONE:
        return WrongKey(
            f"AWS KMS does not open a key of this database, or its version is destroyed ({code})."
        )
    if code in _REFUSED:
        return ConfigurationError(f"AWS KMS refuses the credentials ({code}): check the key policy.")
    return KeystoreUnavailable(f"AWS KMS does not answer ({code or type(error).__name__}).")
