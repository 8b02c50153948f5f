"""A policy (C2SP tlog-policy) says whose cosignatures are enough, and nothing else passes for one."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consent_service.ledger.checkpoint import Checkpoint, sign_checkpoint
from consent_service.ledger.cosignature import Cosigner
from consent_service.ledger.note import NoteSigner
from consent_service.verifier.verify import Policy, cosigned_at, policy_of, printable


def a_key(number: int) -> Ed25519PrivateKey:
    """The same every time: test names have it in them."""
    return Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)


LOG = NoteSigner.from_private("consent.example/shop", a_key(0))
COSIGNERS = {
    name: Cosigner(f"witness.example/{name}", a_key(number))
    for number, name in enumerate(("x1", "x2", "x3", "y"), start=1)
}
NAMED = "\n".join(f"witness {name} {cosigner.vkey}" for name, cosigner in COSIGNERS.items())


def a_note(*names: str, size: int = 7) -> str:
    checkpoint = Checkpoint(origin=LOG.name, size=size, root=bytes(32))
    note = sign_checkpoint(checkpoint, LOG)
    return note.decode() + "".join(COSIGNERS[name].cosign(note, 1000 + at) for at, name in enumerate(names))


@pytest.mark.parametrize(
    ("rule", "enough", "too_few"),
    [
        ("quorum x1", [{"x1"}, {"x1", "y"}], [set(), {"x2"}]),
        ("quorum none", [set(), {"y"}], []),
        ("group g any x1 x2\nquorum g", [{"x1"}, {"x2"}], [{"x3"}, set()]),
        ("group g all x1 x2\nquorum g", [{"x1", "x2"}], [{"x1"}, {"x2", "y"}]),
        ("group g 2 x1 x2 x3\nquorum g", [{"x1", "x3"}], [{"x1"}, {"x1", "y"}]),
        ("group x 2 x1 x2 x3\ngroup both all x y\nquorum both", [{"x1", "x2", "y"}], [{"x1", "x2", "x3"}]),
    ],
)
def test_a_quorum_is_what_its_groups_say(rule: str, enough: list[set[str]], too_few: list[set[str]]) -> None:
    policy = Policy(f"# who watches\n\n log {LOG.vkey} https://shop.example\n{NAMED}\n\t{rule} \n")

    assert all(policy.satisfied(names) for names in enough)
    assert not any(policy.satisfied(names) for names in too_few)


@pytest.mark.parametrize(
    "text",
    [
        "",
        NAMED,
        "quorum x1",
        f"{NAMED}\nquorum x1\nquorum x1",
        f"{NAMED}\nquorum x4",
        f"{NAMED}\n{NAMED}\nquorum x1",
        f"witness none {COSIGNERS['x1'].vkey}\nquorum none",
        f"{NAMED}\nwitness twin {COSIGNERS['x1'].vkey}\nquorum twin",
        f"{NAMED}\ngroup g 0 x1\nquorum g",
        f"{NAMED}\ngroup g 3 x1 x2\nquorum g",
        f"{NAMED}\ngroup g some x1 x2\nquorum g",
        f"{NAMED}\ngroup g any x1 x1\nquorum g",
        f"{NAMED}\ngroup g any x1\ngroup h any x1 g\nquorum h",
        f"{NAMED}\ngroup g any g\nquorum g",
        f"{NAMED}\ngroup g any\nquorum g",
        f"{NAMED}\nquorum\x0bx1",
        f"{NAMED}\nquorum x1\r\n",
        f"{NAMED}\nwitnesses\nquorum x1",
        f"witness w {LOG.vkey}\nquorum w",
        f"log {COSIGNERS['x1'].vkey}\nquorum none",
        f"log {LOG.vkey}\nlog {LOG.vkey}\nquorum none",
        "witness w w+00000000+AA==\nquorum w",
    ],
)
def test_what_is_no_policy_is_refused_with_a_harmless_message(text: str) -> None:
    with pytest.raises(ValueError, match=r"policy|quorum") as caught:
        Policy(text)

    assert str(caught.value) == printable(caught.value)


def test_who_cosigned_and_when_is_read_from_the_note() -> None:
    policy = Policy(f"{NAMED}\nquorum x1")

    assert policy.seen(a_note("y", "x2")) == {"y": 1000, "x2": 1001}
    assert policy.seen(a_note()) == {}


def test_a_cosignature_moved_to_another_checkpoint_refuses_the_note() -> None:
    moved = a_note(size=8) + a_note("x1", size=7).splitlines(keepends=True)[-1]

    with pytest.raises(ValueError, match="does not verify"):
        Policy(f"{NAMED}\nquorum x1").seen(moved)


def test_of_two_cosignatures_of_one_witness_the_later_counts() -> None:
    note = a_note("x1", "x1")

    assert cosigned_at(note, COSIGNERS["x1"].vkey) == 1001


def test_all_of_some_keys_is_a_policy() -> None:
    policy = Policy.all_of([COSIGNERS["x1"].vkey, COSIGNERS["y"].vkey])

    assert policy.satisfied(policy.seen(a_note("x1", "y")))
    assert not policy.satisfied(policy.seen(a_note("x1")))
    assert Policy.all_of([]).satisfied(())


def test_witnesses_beside_a_policy_are_refused_and_not_left_unread(tmp_path: Path) -> None:
    file = tmp_path / "policy"
    file.write_text("quorum none\n")

    with pytest.raises(ValueError, match="not both"):
        policy_of([COSIGNERS["y"].vkey], file)
    assert policy_of([], file) is not None
