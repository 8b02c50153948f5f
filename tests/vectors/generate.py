"""Write the ledger's vectors: `python -m tests.vectors.generate` from the checkout's root.

Keys and openings are fixed, so that the files come out the same every time; a test proves it. README.md
beside this file says what the members mean.
"""

import json
from collections.abc import Callable
from pathlib import Path

from consent_service.ledger.canonical import canonical_json, encode_base64, parse_json
from consent_service.ledger.entry import Kind, commitment, leaf
from consent_service.ledger.merkle import leaf_hash
from consent_service.ledger.tiles import ENTRIES, TileLevel, entry_bundle, tile_path, tile_width
from tests.vectors.certificate_cases import certificate_vectors
from tests.vectors.handoff_cases import handoff_vectors
from tests.vectors.merkle_cases import LARGEST, Case, merkle_vectors
from tests.vectors.signed_cases import ORIGIN, a_seed, checkpoint_vectors, note_vectors, tlog_proof_vectors

FOLDER = Path(__file__).parent


def render(document: object) -> bytes:
    """Return the bytes of a vector file: readable in a diff, ASCII only, the same on every machine."""
    return (json.dumps(document, indent=2) + "\n").encode("ascii")


def canonical_json_vectors() -> Case:
    valid = {
        "every type": '{"a": [null, true, false, 0, -1, "text", [], {}]}',
        "keys are sorted": '{"b": 1, "a": 2, "B": 3, "": 4, "aa": 5, "10": 6, "9": 7}',
        "white space goes": ' [ 1 ,\t2 ,\r\n{ "a" : "b c" } ] ',
        "the largest integers": f"[{LARGEST}, {-LARGEST}, -0]",
        "short escapes": r'"\b\t\n\f\r\"\\\/"',
        "control characters": r'"\u0000\u001f\u007f\u0080\u2028"',
        "needless escapes go": r'"\u0041\u00e9\u20ac\ud83d\ude00"',
        "letters stay as they are": '"caf\u00e9 e\u0301 \u20ac \U0001f600"',
        "keys are sorted by UTF-16 units": '{"\ufb33": 1, "\U0001f600": 2, "\u20ac": 3, "\u0080": 4}',
        "records are nested": '{"choices": {"recommendations": "granted", "coupons": "denied"}}',
    }
    invalid = {
        "a float": "1.0",
        "an exponent": "1e2",
        "not a number": "NaN",
        "infinity": "-Infinity",
        "an integer beyond 2^53 - 1": str(LARGEST + 1),
        "an integer below -(2^53 - 1)": str(-LARGEST - 1),
        "a key twice": '{"a": 1, "a": 1}',
        "a key twice, once escaped": r'{"a": 1, "\u0061": 2}',
        "a key twice further in": '[{"b": {"a": 1, "a": 2}}]',
        "a lone surrogate": r'"\ud83d"',
        "a lone surrogate in a key": r'{"\ude00": 1}',
        "surrogates in the wrong order": r'"\ude00\ud83d"',
        "a raw control character": '"\t"',
        "single quotes": "{'a': 1}",
        "a trailing comma": "[1,]",
        "two values": "1 2",
        "nothing": "",
        "a byte order mark": "\ufeff1",
    }
    return {
        "valid": [
            {"name": name, "json": text, "canonical": canonical_json(parse_json(text.encode())).decode()}
            for name, text in valid.items()
        ],
        "invalid": [{"name": name, "json": text} for name, text in invalid.items()],
    }


def a_commitment(number: int) -> tuple[bytes, bytes, bytes]:
    """Return opening, record and commitment."""
    opening = a_seed(f"opening {number}")
    record = canonical_json({"v": 1, "number": number, "words": "caf\u00e9"})
    return opening, record, commitment(opening, record)


def entry_vectors() -> Case:
    commitments = [
        {
            "name": "an empty record and an opening of zeros",
            "opening": bytes(32).hex(),
            "record": "",
            "commitment": commitment(bytes(32), b"").hex(),
        }
    ]
    for number in range(3):
        opening, record, committed = a_commitment(number)
        commitments.append(
            {
                "name": f"record {number}",
                "opening": opening.hex(),
                "record": record.decode(),
                "commitment": committed.hex(),
            }
        )
    leaves = [a_leaf(ORIGIN, kind, a_commitment(number)[2]) for number, kind in enumerate(Kind)]
    leaves.append(a_leaf('quotes " and caf\u00e9 \U0001f600', Kind.DECISION, bytes(32)))
    good = leaves[0]["leaf"]
    invalid = {
        "nothing": "",
        "another version": good.replace('"v":1', '"v":2'),
        "an unknown kind": good.replace('"decision"', '"opinion"'),
        "a further member": good.replace('"v":1', '"v":1,"w":1'),
        "a missing member": good.replace(',"v":1', ""),
        "keys in another order": '{"v":1,' + good[1:].replace(',"v":1', ""),
        "white space": good.replace(",", ", "),
        "a line break at the end": good + "\n",
        "an escape that is not needed": good.replace('"log":"c', '"log":"\\u0063'),
        "a commitment of 31 bytes": good.replace(leaves[0]["c"], encode_base64(bytes(31))),
        "a commitment in URL-safe base64": good.replace(leaves[0]["c"], "-" + leaves[0]["c"][1:]),
        "stray bits at the end of the base64": good.replace(leaves[0]["c"], "A" * 42 + "B="),
    }
    return {
        "commitments": commitments,
        "leaves": leaves,
        "invalid_leaves": [{"name": name, "leaf": text} for name, text in invalid.items()],
    }


def a_leaf(origin: str, kind: Kind, committed: bytes) -> Case:
    data = leaf(origin, kind, committed)
    return {
        "name": f"{kind.value} in {origin}",
        "origin": origin,
        "kind": kind.value,
        "commitment": committed.hex(),
        "c": encode_base64(committed),
        "leaf": data.decode(),
        "leaf_hash": leaf_hash(data).hex(),
    }


def tiles_vectors() -> Case:
    places: list[tuple[TileLevel, int, int]] = [
        *(
            (level, n, width)
            for level in (0, 1, 63)
            for n in (0, 999, 1000, 1234067)
            for width in (1, 255, 256)
        ),
        *((ENTRIES, n, width) for n in (0, 7, 1234067, LARGEST) for width in (17, 256)),
    ]
    sizes = [1, 255, 256, 257, 65535, 65536, 65537, 70000, 2**24, LARGEST]
    bundles = {
        "nothing": [],
        "one leaf": [b"leaf"],
        "an empty leaf": [b"", b"x", b""],
        "a leaf of 258 bytes": [b"y" * 258],
        "leaves of a log": [leaf(ORIGIN, kind, bytes(32)) for kind in Kind],
    }
    invalid_bundles = {
        "half a length": "00",
        "a length without a leaf": "0001",
        "a torn leaf": "00026c",
        "a byte too many": "00016c00",
        "257 leaves": "0000" * 257,
    }
    return {
        "paths": [
            {"level": level, "n": n, "width": width, "path": tile_path(level, n, width)}
            for level, n, width in places
        ],
        "invalid_paths": [
            *("", "tile", "tile/0", "tile/0/0", "tile/0/00", "tile/0/0000", "tile/00/000", "tile/64/000"),
            *("tile/-1/000", "tile/0/x000/001", "tile/0/001/002", "tile/0/x001/x002", "tile/0/x001/002/"),
            *("tile/0/000.p/0", "tile/0/000.p/01", "tile/0/000.p/256", "tile/0/000.p/", "tile/0/000.p"),
            *(
                "/tile/0/000",
                "tile/data/000",
                "tile/entries",
                "tile/0/000\n",
                "tile/0/../000",
                "tile/0/\u0660\u0660\u0660",
            ),
        ],
        "widths": [
            {"level": level, "n": n, "size": size, "width": tile_width(level, n, size)}
            for size in sizes
            for level in (0, 1, 2, 3)
            for n in sorted({0, (size >> 8 * level) // 256, (size >> 8 * level) // 256 + 1})
        ],
        "bundles": [
            {"name": name, "leaves": [each.hex() for each in leaves], "bundle": entry_bundle(leaves).hex()}
            for name, leaves in bundles.items()
        ],
        "invalid_bundles": [{"name": name, "bundle": digits} for name, digits in invalid_bundles.items()],
    }


VECTORS: dict[str, Callable[[], object]] = {
    "canonical_json.json": canonical_json_vectors,
    "entry.json": entry_vectors,
    "merkle.json": merkle_vectors,
    "tiles.json": tiles_vectors,
    "note.json": note_vectors,
    "checkpoint.json": checkpoint_vectors,
    "tlog_proof.json": tlog_proof_vectors,
    "handoff.json": handoff_vectors,
    "certificate.json": certificate_vectors,
}


def main() -> None:
    """Write every file beside this one."""
    for name, vectors in VECTORS.items():
        (FOLDER / name).write_bytes(render(vectors()))


if __name__ == "__main__":
    main()
