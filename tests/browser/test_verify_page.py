"""The page /verify in a real browser: it says what verify.py says, asks nobody, and stays awake."""

import base64
import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from playwright.sync_api import Browser, Page, Route, expect

from consent_service.api.app import create_app
from consent_service.domain.subject import SubjectRef
from consent_service.ledger.canonical import canonical_json
from consent_service.ledger.certificate import ErasureCertificate
from consent_service.ledger.checkpoint import open_checkpoint, sign_checkpoint
from consent_service.ledger.cosignature import Cosigner
from consent_service.ledger.note import NoteVerifier
from consent_service.ledger.proof import TlogProof
from consent_service.ledger.record import ErasureRecord, decode_record
from consent_service.operations.export_audit import AuditRequest
from consent_service.operations.read_receipt import FORMS, PDF_MEDIA_TYPE, read_receipt, write_receipt
from consent_service.settings import Settings
from consent_service.verifier.verify import Fault, verify_pack, verify_receipt
from consent_service.web.verifying import verifier_languages
from consent_service.web.words import languages
from tests.audit.conftest import KNOWN, fill
from tests.audit.forge import (
    Entries,
    forged,
    impossible_packs,
    impossible_packs_of_one,
    impossible_periods,
    spoilt_certificates,
)
from tests.audit.packs import a_foreign_signer, entries_of, export_to, members_of, packed, zipped
from tests.browser.own_platform_rules import judge
from tests.browser.serving import served
from tests.builders import a_decision
from tests.installation import Installation
from tests.receipts.make import SIGNER, a_receipt
from tests.receipts.test_offline import WITNESS, cosigned
from tests.servers import unused_port
from tests.size import size

EDITS = size(40, 400)
MANY = size(2_500, 100_000)
ASK = """async ([name, data, key, previous, certificates, witnesses]) => {
  const file = (name, data) => new File([Uint8Array.from(atob(data), (each) => each.charCodeAt(0))], name);
  const worker = (globalThis.asked ??= new Worker(document.querySelector("main").dataset.worker));
  const answer = new Promise((resolve) => {
    worker.onmessage = ({ data }) => data.kind === "progress" || resolve(data);
  });
  const held = certificates.map((each) => file("certificate.txt", each));
  const older = previous && file("previous.zip", previous);
  worker.postMessage({ file: file(name, data), key, previous: older, witnesses, certificates: held });
  const { kind, result } = await answer;
  return [kind, result ?? null];
}"""
Ask = Callable[..., tuple[str, Any]]


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    home = tmp_path_factory.mktemp("home")
    with Installation(home=home, database_url=f"sqlite:///{home / 'consent.db'}") as filled:
        fill(filled)
        yield filled


@pytest.fixture(scope="module")
def pack(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_to(tmp_path_factory.mktemp("packs") / "pack.zip", installation, AuditRequest())


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(create_app(Settings(home=tmp_path_factory.mktemp("served"))), unused_port()) as url:
        yield f"{url}/verify"


@pytest.fixture(scope="module")
def page(browser: Browser, address: str) -> Iterator[Page]:
    page = browser.new_page()
    page.goto(address)
    page.locator("html[data-ready]").wait_for()
    yield page
    page.close()


@pytest.fixture(scope="module")
def ask(page: Page) -> Ask:
    """Ask the page's worker about bytes, as the page does."""

    def asked(
        data: bytes,
        *,
        name: str = "pack.zip",
        key: str | None = None,
        previous: bytes = b"",
        certificates: Sequence[bytes] = (),
        witnesses: Sequence[str] = (),
    ) -> Any:
        sent, older, *held = (base64.b64encode(each).decode() for each in (data, previous, *certificates))
        return page.evaluate(ASK, [name, sent, key, older or None, held, [*witnesses]])

    return asked


def _both(ask: Ask, folder: Path, data: bytes, key: str | None, previous: bytes = b"") -> tuple[Any, Any]:
    """Return what verify.py and the browser say about a pack: the fault's place, or what was counted."""
    path, older = folder / "asked.zip", folder / "older.zip"
    path.write_bytes(data)
    older.write_bytes(previous)
    try:
        result = verify_pack(path, vkey=key, previous=older if previous else None)
        ours: Any = (result["root"], result["checked"], len(result["remarks"]))
    except Fault as fault:
        ours = (fault.check, fault.where, fault.index)
    kind, found = ask(data, key=key, previous=previous)
    assert kind in {"pack", "fault"}
    if kind == "pack":
        return ours, (found["root"], found["checked"], len(found["remarks"]))
    return ours, (found["check"], found["where"], found["index"])


def _edited(whole: bytes) -> Iterator[bytes]:
    chance = random.Random(20261128)  # noqa: S311  # the same edits every time
    for _ in range(EDITS):
        data = bytearray(whole)
        data[chance.randrange(len(data))] ^= chance.randrange(1, 256)
        yield bytes(data)
    for kept in (0, 1, 21, 22, len(whole) // 2, len(whole) - 22, len(whole) - 1):
        yield whole[:kept]
    yield whole + b"\0"
    yield b"\0" + whole


def test_both_verifiers_agree_on_every_spoilt_byte(
    ask: Ask, pack: Path, installation: Installation, tmp_path: Path
) -> None:
    key = installation.tenant.signer.vkey

    for data in _edited(pack.read_bytes()):
        ours, theirs = _both(ask, tmp_path, data, key)
        assert theirs == ours
        assert ours[0] in {"container", "manifest"}


def _change(what: str, value: Any, position: int = -1) -> Callable[[Entries], None]:
    def edit(entries: Entries) -> None:
        entries[position]["record"][what] = value

    return edit


def _flip(entries: Entries) -> None:
    outcome = entries[-1]["record"]["consents"]["coupons"]
    outcome["status"] = "given" if outcome["status"] != "given" else "refused"


def _hide(entries: Entries) -> None:
    del entries[-1]["record"], entries[-1]["opening"]
    entries[-1]["erased"] = True


def _hide_more_than_was_erased(entries: Entries) -> None:
    erasure = next(each for each in entries if each["leaf"]["kind"] == "erasure")
    erasure["record"]["destroyed"]["records"] += 1
    _hide(entries)


def _hide_an_erasure(entries: Entries) -> None:
    erasure = next(each for each in entries if each["leaf"]["kind"] == "erasure")
    del erasure["record"], erasure["opening"]
    erasure["erased"] = True


def _break_chain(entries: Entries) -> None:
    for entry in entries:
        entry["keep_prev"] = True
    del entries[3]


HISTORIES: Sequence[Callable[[Entries], None]] = [
    _flip,
    _hide,
    _break_chain,
    _change("source", "call_centre", 1),
    _change("recorded_at", "2026-01-01T00:00:00.000Z"),
    _change("recorded_at", "2026-13-41T25:61:61.000Z"),
    _change("notice", "0" * 64, 1),
    _change("choices", {"coupons": "assumed"}, 1),
    _change("choices", {"surveillance": "granted"}, 1),
    _change("subject", "s_\N{SNOWMAN}"),
    _change("actor", '=HYPERLINK("x")'),
    _change("actor", "-1+1"),
    _change("prev", None),
    _change("v", 2),
    _hide_more_than_was_erased,
    _hide_an_erasure,
]


JUNK: Sequence[Any] = [-1, "", [None], {}, None, 3]


def _spoilt_packs(
    installation: Installation, pack: Path, hers: Path, period: Path
) -> Iterator[tuple[str, bytes]]:
    """Packs that a dishonest operator signed, and what is no pack of ours."""
    members, signer = members_of(pack), installation.tenant.signer
    for number, edit in enumerate(HISTORIES):
        yield f"history {number}", forged(members, signer, edit)
    for what in ("origin", "vkey", "mode", "from", "to", "head", "root", "start", "since", "counts", "keys"):
        for junk in JUNK:
            if (what, junk) != ("origin", None):
                yield f"{what}: {junk!r}", packed(members, signer, **{what: junk})
    lines = members["entries/000000.ndjson"].splitlines(keepends=True)
    for name, kept in {
        "without the last": lines[:-1],
        "swapped": [*lines[:5], lines[6], lines[5], *lines[7:]],
        "one twice": [*lines[:20], lines[19], *lines[20:]],
        "an empty line": [*lines[:9], b"\n", *lines[9:]],
        "no line feed": [*lines[:-1], lines[-1][:-1]],
        "not UTF-8": [line.replace(b'"granted"', b'"gr\xffnted"') for line in lines],
        "one denied": [line.replace(b'"granted"', b'"denied"') for line in lines],
    }.items():
        yield name, packed({**members, "entries/000000.ndjson": b"".join(kept)}, signer)
    notes = members["checkpoints.ndjson"].splitlines(keepends=True)
    yield "no checkpoint", packed({**members, "checkpoints.ndjson": b""}, signer)
    yield "checkpoints turned", packed({**members, "checkpoints.ndjson": b"".join(notes[::-1])}, signer)
    since: Any = {"size": 3, "root": "A" * 43 + "=", "proof": []}
    yield "another past", packed(members, signer, since=since)
    yield "a foreign key", packed(members, a_foreign_signer(signer.name))
    yield "a table of nothing", packed({**members, "table/000000.csv": b""}, signer)
    yield "another ZIP program", zipped(members)
    yield "a long line", packed({**members, "entries/000000.ndjson": bytes(5 << 20)}, signer)
    yield "a name that leads elsewhere", packed({"../etc/passwd.py": b"", **members}, signer)
    for number, (_, data) in enumerate(spoilt_certificates(members, signer, a_foreign_signer(signer.name))):
        yield f"certificate {number}", data
    without = {name: data for name, data in members.items() if name != "erasures.ndjson"}
    yield "no certificates", packed(without, signer)
    for name, _, _, data in impossible_packs(members, signer):
        yield name, data
    for name, _, _, data in impossible_packs_of_one(members_of(hers), signer):
        yield name, data
    for name, _, _, data in impossible_periods(members_of(period), signer):
        yield f"a period, {name}", data
    yield "repacked", packed(members, signer)


def test_both_verifiers_agree_on_what_a_dishonest_operator_signs(
    ask: Ask, pack: Path, installation: Installation, tmp_path: Path
) -> None:
    key = installation.tenant.signer.vkey
    request = AuditRequest(subject=installation.tenant.subject(KNOWN))
    hers = export_to(tmp_path / "hers.zip", installation, request)
    late = AuditRequest(start=installation.clock.now - timedelta(days=1))
    period = export_to(tmp_path / "period.zip", installation, late)
    verdicts, differing = {}, {}

    for name, data in _spoilt_packs(installation, pack, hers, period):
        ours, theirs = _both(ask, tmp_path, data, key)
        verdicts[name] = ours[0]
        if ours != theirs:
            differing[name] = ours, theirs

    assert differing == {}
    assert len(verdicts) > 90
    assert {"commitments", "tree", "chains", "statuses", "views", "counts", "entries", "erasures"} <= set(
        verdicts.values()
    )


def test_both_verifiers_agree_on_packs_of_every_kind(
    ask: Ask, pack: Path, installation: Installation, tmp_path: Path
) -> None:
    now = installation.clock.now
    subject = installation.tenant.subject(KNOWN)
    requests = [
        AuditRequest(subject=subject),
        AuditRequest(start=now.replace(day=now.day - 1), since=10),
        AuditRequest(until=now.replace(day=now.day - 1)),
        AuditRequest(since=41),
    ]
    packs = [pack, *(export_to(tmp_path / f"{n}.zip", installation, each) for n, each in enumerate(requests))]
    older = packs[3].read_bytes()

    for each in packs:
        for previous in (b"", older):
            ours, theirs = _both(ask, tmp_path, each.read_bytes(), installation.tenant.signer.vkey, previous)
            assert theirs == ours
    signer = installation.tenant.signer
    lies: Sequence[tuple[str, dict[str, Any]]] = [
        ("tree", {"head": 1_000}),
        ("manifest", {"keys": [a_foreign_signer(signer.name).vkey, signer.vkey]}),
    ]
    for check, lie in lies:
        ours, theirs = _both(
            ask, tmp_path, pack.read_bytes(), signer.vkey, packed(members_of(pack), signer, **lie)
        )
        assert theirs == ours == (check, "previous", None)
    rewritten = forged(members_of(pack), installation.tenant.signer, HISTORIES[3])
    ours, theirs = _both(ask, tmp_path, rewritten, None, older)

    assert theirs == ours == ("tree", "previous", None)


def test_a_certificate_is_of_an_erasure_in_the_pack_or_refused(
    ask: Ask, pack: Path, installation: Installation
) -> None:
    signer, whole = installation.tenant.signer, pack.read_bytes()
    entry = next(each for each in entries_of(members_of(pack)) if each["leaf"]["kind"] == "erasure")
    record = decode_record(canonical_json(entry["record"]))
    assert isinstance(record, ErasureRecord)
    good = ErasureCertificate(
        origin=signer.name,
        index=entry["index"],
        subject=SubjectRef("s_erased"),
        opening=bytes.fromhex(entry["opening"]),
        record=record,
    )
    elsewhere = replace(good, index=1)

    kind, found = ask(whole, certificates=[good.sign(signer).encode()])

    assert (kind, found["checked"]["certificates"]) == ("pack", 1)
    for certificate in (elsewhere.sign(signer), good.sign(a_foreign_signer(signer.name)), "nothing"):
        assert ask(whole, certificates=[certificate.encode()])[1]["check"] == "certificate"


def test_a_receipt_of_every_form_verifies_and_a_changed_one_does_not(
    ask: Ask, installation: Installation
) -> None:
    deployment, tenant = installation.service.deployment, installation.tenant
    receipt = read_receipt(deployment, tenant, 1)

    for form in (*FORMS, PDF_MEDIA_TYPE):
        data = write_receipt(receipt, form, deployment.settings)
        kind, found = ask(data, name="receipt", key=tenant.signer.vkey)
        assert (kind, found and found.get("index")) == ("receipt", 1), (form, found)
        assert {each["status"] for each in found["choices"]} <= {"given", "refused"}
        assert ask(data, name="receipt", key="other+0+x")[0] == "fault"
    evidence = receipt.evidence.document()
    for member in evidence:
        value = evidence[member]
        spoilt = {**evidence, member: value[:-9] + value[-8:] if isinstance(value, str) else 99}
        assert ask(json.dumps({"evidence": spoilt}).encode(), name="receipt")[0] == "fault", member
    for begins in (b'{"title":{"en":"Other words"},', b'{"A":NaN,'):
        ambiguous = json.dumps({"evidence": a_receipt(begins=begins).evidence.document()}).encode()
        assert ask(ambiguous, name="receipt")[1]["check"] == "notices"


def test_a_receipt_without_the_cosignatures_that_are_asked_for_is_refused(ask: Ask) -> None:
    receipts = {
        name: json.dumps(receipt.evidence.document()).encode()
        for name, receipt in {"bare": a_receipt(), "seen": cosigned(a_receipt())}.items()
    }
    other = Cosigner(WITNESS.name, Ed25519PrivateKey.generate()).vkey

    kind, found = ask(receipts["seen"], name="receipt", key=SIGNER.vkey, witnesses=[WITNESS.vkey])

    assert (kind, found["cosignatures"]) == ("receipt", 1)
    for name, witnesses in (
        ("bare", [WITNESS.vkey]),
        ("seen", [other]),
        ("seen", [WITNESS.vkey, other]),
        ("seen", ["nobody"]),
    ):
        kind, found = ask(receipts[name], name="receipt", key=SIGNER.vkey, witnesses=witnesses)
        assert (kind, found["check"]) == ("fault", "cosignatures")


@pytest.mark.parametrize("language", ["fr", "FR-ca", "fr-CA-x-quebec"])
def test_purposes_on_a_receipt_have_the_names_that_were_shown(ask: Ask, language: str) -> None:
    receipt = a_receipt(language=language)

    _, found = ask(json.dumps(receipt.evidence.document()).encode(), name="receipt")

    names = receipt.notice.purposes
    assert found["choices"]
    assert all(each["name"] == names[each["purpose"]].name["fr"] for each in found["choices"])


def test_a_receipt_from_the_change_of_a_key_verifies_under_both(ask: Ask) -> None:
    """Whoever holds the old key and whoever holds the new one are told the same by both verifiers."""
    receipt = a_receipt()
    proof, newer = TlogProof.parse(receipt.evidence.proof), a_foreign_signer(SIGNER.name)
    checkpoint = open_checkpoint(proof.checkpoint, NoteVerifier.parse(SIGNER.vkey), origin=SIGNER.name)
    both = replace(proof, checkpoint=sign_checkpoint(checkpoint, SIGNER, newer)).encode()
    document = replace(receipt.evidence, proof=both, vkey=newer.vkey).document()
    keys = (SIGNER.vkey, newer.vkey, a_foreign_signer(SIGNER.name).vkey)

    data = json.dumps(document)
    asked = [ask(data.encode(), name="receipt", key=key) for key in keys]

    assert [kind for kind, _ in asked] == ["receipt", "receipt", "fault"]
    assert [found["vkey"] for _, found in asked[:2]] == list(keys[:2])
    assert [verify_receipt(data, vkey=key)["vkey"] for key in keys[:2]] == list(keys[:2])
    with pytest.raises(Fault):
        verify_receipt(data, vkey=keys[2])


@pytest.fixture
def fresh(browser: Browser, address: str) -> Iterator[Callable[..., Page]]:
    """Open the page anew."""
    opened = []

    def opening(language: str = "en") -> Page:
        page = browser.new_page()
        opened.append(page)
        page.goto(f"{address}?language={language}")
        page.locator("html[data-ready]").wait_for()
        return page

    yield opening
    for page in opened:
        page.close()


def test_a_file_that_is_dropped_is_verified_without_any_request(
    fresh: Callable[..., Page], pack: Path, installation: Installation
) -> None:
    page = fresh()
    requests: list[str] = []

    def refuse(route: Route) -> None:
        requests.append(route.request.url)
        route.abort()

    page.context.route("**", refuse)
    page.context.set_offline(True)
    page.get_by_label("log's key").fill(installation.tenant.signer.vkey)

    transfer = page.evaluate_handle(
        """(data) => {
          const transfer = new DataTransfer();
          const bytes = Uint8Array.from(atob(data), (each) => each.charCodeAt(0));
          transfer.items.add(new File([bytes], "pack.zip"));
          return transfer;
        }""",
        base64.b64encode(pack.read_bytes()).decode(),
    )
    page.locator("#drop").dispatch_event("drop", {"dataTransfer": transfer})

    expect(page.get_by_role("heading", name="Verified")).to_be_visible()
    expect(page.locator("#outcome")).to_contain_text("consent.local/default")
    assert requests == []


def test_the_first_fault_is_named_and_hostile_text_is_only_text(
    fresh: Callable[..., Page], pack: Path, installation: Installation, tmp_path: Path
) -> None:
    page = fresh()
    spoilt = tmp_path / "spoilt.zip"
    hostile = '<img src=x onerror="document.title=1">\x1b[2J\u202e'
    members, signer = members_of(pack), installation.tenant.signer
    spoilt.write_bytes(forged(members, signer, _change("notice", "f" * 64, 1), software=hostile))

    page.locator("#file").set_input_files(spoilt)

    expect(page.get_by_role("heading", name="Not verified")).to_be_visible()
    expect(page.locator("#outcome dd")).to_have_text(
        ["statuses", "record", "1", "decided under a notice that was not published yet"]
    )
    assert page.locator("img").count() == 0
    spoilt.write_bytes(spoilt.read_bytes().replace(b"verify.py", b"<b>\x1b[2.p"))
    page.locator("#file").set_input_files(spoilt)
    expect(page.locator("#outcome dd").first).to_have_text("container")
    assert "\x1b" not in page.locator("#outcome").inner_text()


def test_a_fault_is_told_in_the_language_of_the_page(
    fresh: Callable[..., Page], pack: Path, installation: Installation, tmp_path: Path
) -> None:
    page, spoilt = fresh("fr"), tmp_path / "spoilt.zip"
    spoilt.write_bytes(forged(members_of(pack), installation.tenant.signer, _flip))

    page.locator("#file").set_input_files(spoilt)

    expect(page.locator("#outcome p")).to_have_text(
        "Un statut ou une validité ne découle pas des décisions précédentes."
    )
    expect(page.locator("#outcome [lang=en]")).to_contain_text("does not follow from the entries before")


def test_what_a_receipt_says_reads_in_the_pages_direction_and_machine_words_in_their_own(
    fresh: Callable[..., Page], installation: Installation, tmp_path: Path
) -> None:
    deployment = installation.service.deployment
    receipt = tmp_path / "receipt.json"
    receipt.write_bytes(
        write_receipt(
            read_receipt(deployment, installation.tenant, 1), next(iter(FORMS)), deployment.settings
        )
    )
    page = fresh("he")

    page.locator("#file").set_input_files(receipt)

    direction = "(element) => getComputedStyle(element).direction"
    facts = page.locator("#outcome bdi")
    assert (
        facts.first.evaluate(direction) == "rtl"
    )  # "Coupons chosen for you": a notice's name in Latin script
    assert facts.filter(has_text="consent.local/default").first.evaluate(direction) == "ltr"


def test_the_page_is_worked_by_the_keyboard_alone(fresh: Callable[..., Page], pack: Path) -> None:
    page = fresh()

    page.keyboard.press("Tab")
    expect(page.locator("#file")).to_be_focused()
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Space")
    chooser.value.set_files(pack)

    expect(page.get_by_role("status")).to_have_text("Verified")
    assert page.evaluate("document.activeElement.id") == "outcome"


@pytest.mark.parametrize(
    ("language", "screen"),
    [("en", "light"), ("en", "dark phone"), ("ar", "320 px"), ("fr", "forced colours")],
)
def test_axe_has_nothing_to_say(fresh: Callable[..., Page], pack: Path, language: str, screen: str) -> None:
    page = fresh(language)
    page.locator("#file").set_input_files(pack)
    page.locator("#outcome").wait_for()

    judge(page, screen)


def test_the_focus_ring_of_what_was_found_covers_nothing(fresh: Callable[..., Page], pack: Path) -> None:
    page = fresh()
    page.locator("#file").set_input_files(pack)
    expect(page.locator("#outcome")).to_be_focused()

    found, above = page.locator("#outcome").bounding_box(), page.locator("#drop").bounding_box()

    assert found is not None
    assert above is not None
    assert found["y"] - (above["y"] + above["height"]) > 5  # a ring of 3 px, 2 px away


def test_every_language_has_every_word(fresh: Callable[..., Page]) -> None:
    folder = Path(__file__).parents[2] / "consent_service/web/verifier_words"
    texts = {path.stem: json.loads(path.read_text("utf-8")) for path in folder.iterdir()}

    assert set(texts) == set(verifier_languages()) == set(languages())
    assert {frozenset(each) for each in texts.values()} == {frozenset(texts["en"])}
    assert all(text.strip() for each in texts.values() for text in each.values())
    sources = (Path(__file__).parents[2] / "sdk/js/src/verify").glob("*.ts")
    checks = {
        found for each in sources for found in re.findall(r'Fault\("([a-z]+)"', each.read_text("utf-8"))
    }
    assert {f"fault_{check}" for check in checks} <= set(texts["en"])
    assert len(checks) > 12


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pack of many entries."""
    home = tmp_path_factory.mktemp("large")
    with Installation(home=home, database_url=f"sqlite:///{home / 'consent.db'}") as filled:
        notice = filled.publish().digest
        decision = a_decision(notice=notice, decided_at=filled.clock.now)
        for start in range(0, MANY, 500):
            names = [f"customer-{number % (MANY // 5)}" for number in range(start, start + 500)]
            filled.decide_all([filled.request(name, decision=decision) for name in names])
        return export_to(home / "large.zip", filled, AuditRequest())


def test_the_page_goes_on_drawing_while_a_large_pack_is_verified(
    fresh: Callable[..., Page], large: Path
) -> None:
    page = fresh()
    page.evaluate(
        """() => {
          const [bar, seen] = [document.querySelector("progress"), { frames: [], values: new Set() }];
          globalThis.seen = seen;
          const frame = (now) => {
            if (!bar.hidden) {
              seen.frames.push(now);
              if (bar.hasAttribute("value")) seen.values.add(bar.value);
            }
            requestAnimationFrame(frame);
          };
          requestAnimationFrame(frame);
        }"""
    )

    page.locator("#file").set_input_files(large)
    expect(page.get_by_role("heading", name="Verified")).to_be_visible(timeout=300_000)

    frames, values = page.evaluate("[seen.frames, seen.values.size]")
    gaps = [later - earlier for earlier, later in pairwise(frames)]
    whole = frames[-1] - frames[0]
    print(f"{MANY} entries in {whole:.0f} ms, {len(frames)} frames, longest gap {max(gaps):.0f} ms")
    assert max(gaps) < whole / 2  # a page that froze has one gap, as long as the whole
    assert values > 1
    expect(page.locator("#outcome")).to_contain_text(f"0 \N{EN DASH} {MANY + 1}")
