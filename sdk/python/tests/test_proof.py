from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256

import pytest
from consent_sdk.checkpoint import Checkpoint, open_checkpoint
from consent_sdk.errors import InvalidNote, InvalidProof
from consent_sdk.proof import EMPTY_ROOT, leaf_hash, node_hash, verify_consistency, verify_inclusion
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

sizes = st.integers(1, 70)


def root_of(leaves: Sequence[bytes]) -> bytes:
    """RFC 9162, section 2.1.1, word for word."""
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return node_hash(root_of(leaves[:split]), root_of(leaves[split:]))


def path_of(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """RFC 9162, section 2.1.3.1."""
    if len(leaves) == 1:
        return []
    split = 1 << (len(leaves) - 1).bit_length() - 1
    if index < split:
        return [*path_of(index, leaves[:split]), root_of(leaves[split:])]
    return [*path_of(index - split, leaves[split:]), root_of(leaves[:split])]


def growth_of(old: int, leaves: Sequence[bytes], *, whole: bool = True) -> list[bytes]:
    """RFC 9162, section 2.1.4.1."""
    if old == len(leaves):
        return [] if whole else [root_of(leaves)]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    if old <= split:
        return [*growth_of(old, leaves[:split], whole=whole), root_of(leaves[split:])]
    return [*growth_of(old - split, leaves[split:], whole=False), root_of(leaves[:split])]


def some_leaves(count: int) -> list[bytes]:
    return [leaf_hash(bytes([number])) for number in range(count)]


@given(sizes, st.data())
def test_the_proof_of_every_entry_verifies_and_no_changed_one_does(size: int, data: st.DataObject) -> None:
    leaves, index = some_leaves(size), data.draw(st.integers(0, size - 1))
    proof, root = path_of(index, leaves), root_of(leaves)

    verify_inclusion(index=index, size=size, leaf_hash=leaves[index], proof=proof, root=root)

    for bad in (proof[:-1] if proof else [root], [*proof, root]):
        with pytest.raises(InvalidProof):
            verify_inclusion(index=index, size=size, leaf_hash=leaves[index], proof=bad, root=root)
    with pytest.raises(InvalidProof):
        verify_inclusion(index=index, size=size, leaf_hash=leaf_hash(b"other"), proof=proof, root=root)
    with pytest.raises(InvalidProof):
        verify_inclusion(index=size, size=size, leaf_hash=leaves[index], proof=proof, root=root)


@given(sizes, st.data())
def test_growth_verifies_and_a_rewritten_past_does_not(size: int, data: st.DataObject) -> None:
    leaves, old = some_leaves(size), data.draw(st.integers(0, size))
    proof = growth_of(old, leaves) if old else []
    old_root, new_root = root_of(leaves[:old]), root_of(leaves)

    verify_consistency(old_size=old, new_size=size, old_root=old_root, new_root=new_root, proof=proof)

    with pytest.raises(InvalidProof):
        verify_consistency(
            old_size=old, new_size=size, old_root=leaf_hash(b"other"), new_root=new_root, proof=proof
        )
    with pytest.raises(InvalidProof):
        verify_consistency(
            old_size=old, new_size=size, old_root=old_root, new_root=new_root, proof=[*proof, new_root]
        )


def test_a_hash_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(InvalidProof):
        verify_inclusion(index=0, size=1, leaf_hash=b"x", proof=[], root=b"x")


NAME = "consent.shop.example/default"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def a_key(key: Ed25519PrivateKey = KEY, name: str = NAME) -> tuple[str, bytes]:
    raw = b"\x01" + key.public_key().public_bytes_raw()
    key_id = sha256(name.encode() + b"\n" + raw).digest()[:4]
    return f"{name}+{key_id.hex()}+{base64(raw)}", key_id


def base64(data: bytes) -> str:
    return b64encode(data).decode()


def a_note(text: str, *, key: Ed25519PrivateKey = KEY, name: str = NAME) -> bytes:
    signature = a_key(key, name)[1] + key.sign(text.encode())
    return f"{text}\n\N{EM DASH} {name} {base64(signature)}\n".encode()


TEXT = f"{NAME}\n8\n{base64(bytes(32))}\n"


def test_a_signed_checkpoint_is_opened() -> None:
    checkpoint = open_checkpoint(a_note(TEXT), key=a_key()[0])

    assert checkpoint == Checkpoint(origin=NAME, size=8, root=bytes(32))


@pytest.mark.parametrize(
    "note",
    [
        a_note(TEXT, key=Ed25519PrivateKey.generate()),
        a_note(TEXT, name="another.example"),
        a_note(TEXT).replace(b"\n8\n", b"\n9\n"),
        a_note(f"another\n8\n{base64(bytes(32))}\n"),
        a_note(f"{NAME}\n08\n{base64(bytes(32))}\n"),
        a_note(f"{NAME}\n-1\n{base64(bytes(32))}\n"),
        a_note(f"{NAME}\n8\n{base64(bytes(31))}\n"),
        a_note(f"{NAME}\n8\n"),
        TEXT.encode(),
        b"",
        b"\xff\n\n\xff\n",
        a_note(TEXT)[:-1],
    ],
)
def test_a_checkpoint_nobody_trusted_signed_is_refused(note: bytes) -> None:
    with pytest.raises(InvalidNote):
        open_checkpoint(note, key=a_key()[0])


@pytest.mark.parametrize("key", ["", "x", "x+00000000+AQ==", a_key()[0].replace("+", "+0", 1)])
def test_a_key_that_is_none_is_refused(key: str) -> None:
    with pytest.raises(InvalidNote):
        open_checkpoint(a_note(TEXT), key=key)
