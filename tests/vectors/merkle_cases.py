"""Cases for the Merkle tree: roots, and proofs that verify or must not."""

from typing import Any

from consent_service.ledger.merkle import consistency_proof, inclusion_proof, leaf_hash, root_hash

Case = dict[str, Any]
LARGEST = 2**53 - 1  # beyond it JavaScript's numbers are not exact

# The first eight leaves are those by which Certificate Transparency logs have long been tested.
LEAVES = [
    *map(bytes.fromhex, ["", "00", "10", "2021", "3031", "40414243", "5051525354555657"]),
    bytes(range(0x60, 0x70)),
    *(f"leaf {number}".encode() for number in range(8, 70)),
]
HASHES = [leaf_hash(each) for each in LEAVES]
ROOTS = [root_hash(HASHES[:size]) for size in range(len(HASHES) + 1)]


def flipped(value: str) -> str:
    """Return the hexadecimal digits with the first bit turned over."""
    return f"{int(value[:2], 16) ^ 0x80:02x}{value[2:]}"


def merkle_vectors() -> Case:
    return {
        "leaves": [each.hex() for each in LEAVES],
        "leaf_hashes": [each.hex() for each in HASHES],
        "roots": [each.hex() for each in ROOTS],
        "inclusion": inclusion_cases(),
        "consistency": consistency_cases(),
    }


def an_inclusion(index: int, size: int) -> Case:
    return {
        "name": f"leaf {index} of {size}",
        "index": index,
        "size": size,
        "leaf_hash": HASHES[index].hex(),
        "proof": [each.hex() for each in inclusion_proof(index, size, HASHES)],
        "root": ROOTS[size].hex(),
        "valid": True,
    }


def inclusion_cases() -> list[Case]:
    places = [
        (index, size) for size in (*range(1, 10), 64, 70) for index in {0, 1, size // 2, size - 2, size - 1}
    ]
    cases = [an_inclusion(index, size) for index, size in sorted(places) if 0 <= index < size]
    good = an_inclusion(5, 7)
    proof = good["proof"]
    spoilt: dict[str, Case] = {
        "another index": {"index": 4},
        "a negative index": {"index": -1},
        "an index that is the size": {"index": 7},
        "an index beyond the size": {"index": LARGEST},
        "another size": {"size": 9},
        "an empty tree": {"size": 0, "index": 0},
        "a negative size": {"size": -7},
        "a huge size": {"size": LARGEST},
        "another leaf": {"leaf_hash": HASHES[4].hex()},
        "a short leaf hash": {"leaf_hash": good["leaf_hash"][2:]},
        "another root": {"root": ROOTS[8].hex()},
        "a long root": {"root": good["root"] + "00"},
        "no root": {"root": ""},
        "no proof": {"proof": []},
        "a short proof": {"proof": proof[:-1]},
        "a proof without its first hash": {"proof": proof[1:]},
        "a long proof": {"proof": [*proof, proof[0]]},
        "a proof that begins with the leaf": {"proof": [good["leaf_hash"], *proof]},
        "a reversed proof": {"proof": proof[::-1]},
        "a flipped bit": {"proof": [flipped(proof[0]), *proof[1:]]},
        "a flipped bit at the end": {"proof": [*proof[:-1], flipped(proof[-1])]},
        "a short hash in the proof": {"proof": [proof[0][:-2], *proof[1:]]},
        "a long hash in the proof": {"proof": [proof[0] + "00", *proof[1:]]},
        "an empty hash in the proof": {"proof": ["", *proof]},
        "two hashes in one": {"proof": [proof[0] + proof[1], *proof[2:]]},
        "65 hashes": {"proof": proof * 22},
        "one leaf of two, said to be the only one": {
            "index": 0,
            "size": 1,
            "leaf_hash": HASHES[1].hex(),
            "proof": [HASHES[0].hex()],
            "root": ROOTS[2].hex(),
        },
        "leaf and root of 33 bytes": {
            "index": 0,
            "size": 1,
            "leaf_hash": HASHES[0].hex() + "00",
            "proof": [],
            "root": HASHES[0].hex() + "00",
        },
        "a root presented as its own leaf": {"index": 0, "size": 7, "leaf_hash": good["root"], "proof": []},
    }
    return cases + [good | change | {"name": name, "valid": False} for name, change in spoilt.items()]


def a_consistency(old_size: int, new_size: int) -> Case:
    return {
        "name": f"{old_size} to {new_size}",
        "old_size": old_size,
        "new_size": new_size,
        "old_root": ROOTS[old_size].hex(),
        "new_root": ROOTS[new_size].hex(),
        "proof": [each.hex() for each in consistency_proof(old_size, new_size, HASHES)],
        "valid": True,
    }


def consistency_cases() -> list[Case]:
    sizes = [(old, new) for new in (*range(10), 64, 70) for old in {0, 1, 2, new // 2, new - 1, new}]
    cases = [a_consistency(old, new) for old, new in sorted(sizes) if 0 <= old <= new]
    good, power, same, empty = (
        a_consistency(3, 7),
        a_consistency(4, 7),
        a_consistency(7, 7),
        a_consistency(0, 7),
    )
    proof = good["proof"]
    spoilt: list[tuple[str, Case, Case]] = [
        ("another old size", good, {"old_size": 4}),
        ("an old size above the new one", good, {"old_size": 8}),
        ("a negative old size", good, {"old_size": -3}),
        ("another new size", good, {"new_size": 9}),
        ("a huge new size", good, {"new_size": LARGEST}),
        ("another old root", good, {"old_root": ROOTS[4].hex()}),
        ("another new root", good, {"new_root": ROOTS[8].hex()}),
        ("roots in the wrong order", good, {"old_root": good["new_root"], "new_root": good["old_root"]}),
        ("a short root", good, {"old_root": good["old_root"][2:]}),
        ("no proof", good, {"proof": []}),
        ("no proof from a power of two", power, {"proof": []}),
        ("a short proof", good, {"proof": proof[:-1]}),
        ("a proof without its first hash", good, {"proof": proof[1:]}),
        ("a long proof", good, {"proof": [*proof, proof[0]]}),
        ("a proof that begins with the old root", power, {"proof": [power["old_root"], *power["proof"]]}),
        ("a reversed proof", good, {"proof": proof[::-1]}),
        ("a flipped bit", good, {"proof": [flipped(proof[0]), *proof[1:]]}),
        ("a short hash in the proof", good, {"proof": [proof[0][:-2], *proof[1:]]}),
        ("an empty hash in the proof", good, {"proof": ["", *proof]}),
        ("65 hashes", good, {"proof": (proof * 17)[:65]}),
        ("the same size with another root", same, {"new_root": ROOTS[6].hex()}),
        ("the same size with a proof", same, {"proof": [ROOTS[7].hex()]}),
        ("7 to 8 said to be 3 to 4", a_consistency(7, 8), {"old_size": 3, "new_size": 4}),
        (
            "equal roots of 33 bytes",
            same,
            dict.fromkeys(("old_root", "new_root"), same["new_root"] + "00"),
        ),
        ("an empty old tree with the new root", empty, {"old_root": empty["new_root"]}),
        ("an empty old tree with a proof", empty, {"proof": [ROOTS[7].hex()]}),
        ("two empty trees with another root", a_consistency(0, 0), {"new_root": ROOTS[1].hex()}),
    ]
    return cases + [base | change | {"name": name, "valid": False} for name, base, change in spoilt]
