"""A database that an earlier program filled, brought to this program's schema, means what it meant."""

import base64
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command

from consent_service.domain.profile import Attributes
from consent_service.domain.purpose import PurposeKey
from consent_service.errors import SchemaMismatch
from consent_service.operations.read_profile import Profile, ProfileQuestion, read_profiles
from consent_service.storage import schema
from consent_service.storage.engine import Database
from consent_service.storage.schema import migrate
from tests.installation import Installation, StoppedClock

SCHEMAS = Path(__file__).parent / "schemas"
STAGES = [path.stem for path in sorted(SCHEMAS.glob("*.json"))]


def restored(stage: str, database_url: str, home: Path) -> datetime:
    """Fill an empty database with what a program of that schema left behind; return what time it was."""
    kept = json.loads((SCHEMAS / f"{stage}.json").read_bytes())
    home.mkdir(mode=0o700)
    for name, content in kept["files"].items():
        (home / name).write_bytes(base64.b64decode(content))
        (home / name).chmod(0o600)
    database = Database(database_url)
    with database.writing() as connection:
        command.upgrade(schema._config(connection), stage)  # the schema of then, not of now
        tables = sa.MetaData()
        tables.reflect(connection)
        for table in tables.sorted_tables:
            if rows := kept["tables"].get(table.name):
                connection.execute(sa.insert(table), [stored(row) for row in rows])
    database.close()
    return datetime.fromisoformat(kept["now"])


def stored(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: base64.b64decode(value["bytes"]) if isinstance(value, dict) else value
        for name, value in row.items()
    }


@pytest.mark.parametrize("stage", STAGES)
def test_an_older_database_is_upgraded_with_its_data_and_verifies(
    database_url: str, tmp_path: Path, stage: str
) -> None:
    now = restored(stage, database_url, tmp_path / "home")
    if database_url.startswith("postgresql"):
        with pytest.raises(SchemaMismatch, match="consent migrate"):
            Installation(home=tmp_path / "home", database_url=database_url)
        database = Database(database_url)
        assert migrate(database) > stage
        database.close()

    with Installation(home=tmp_path / "home", database_url=database_url, clock=StoppedClock(now)) as upgraded:
        verified = upgraded.verify()

        assert (verified.size, verified.erased, verified.subjects) == (10, 1, 3)
        assert upgraded.reasons("ana")["coupons"] == "granted"
        assert upgraded.reasons("ben")["coupons"] == "refused"
        assert upgraded.reasons("cleo")["coupons"] == "subject_erased"
        assert profile(upgraded) == {"household": {"size": 2}, "purchases": {"last": "milk"}}
        assert upgraded.decide("ana", {"coupons": "denied"}).index == 10
        assert upgraded.size == 11


def profile(installation: Installation) -> Attributes:
    """What coupons may see of Ana."""
    question = ProfileQuestion(subjects=[installation.tenant.subject("ana")], purpose=PurposeKey("coupons"))
    [answer] = read_profiles(installation.service.deployment, installation.tenant, question)
    assert isinstance(answer, Profile)
    return answer.attributes


def test_every_schema_before_this_one_has_its_database_here() -> None:
    """0001 never held data outside of its first hours: it had no vault, and no program opens it any more."""
    assert [known for known in schema._known() if known != "0001"][:-1] == STAGES  # its own list


def test_a_database_of_a_newer_program_is_refused_and_left_alone(database_url: str, tmp_path: Path) -> None:
    with Installation(home=tmp_path / "home", database_url=database_url) as installation:
        installation.publish()
    later = sa.create_engine(database_url)
    with later.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    later.dispose()

    with pytest.raises(SchemaMismatch, match="A newer program wrote this database"):
        Installation(home=tmp_path / "home", database_url=database_url)
    database = Database(database_url)
    with pytest.raises(SchemaMismatch, match="A newer program wrote this database"):
        migrate(database)
    with database.reading() as connection:
        assert connection.execute(sa.text("SELECT size FROM head")).scalar_one() == 1
    database.close()
