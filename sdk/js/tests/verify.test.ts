import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { deflateRawSync } from "node:zlib";

import { Refused, base64, canonical, crc32, decoded, hex, isCanonical, json, text, unhex, utf8 } from "../src/verify/bytes.ts";
import { Pack, fromBytes } from "../src/verify/container.ts";
import { openCertificate } from "../src/verify/erasures.ts";
import { openCheckpoint, openNote, parseVkey } from "../src/verify/note.ts";
import { verifyTlogProof } from "../src/verify/receipt.ts";
import { commitment, leafPattern } from "../src/verify/record.ts";
import { after } from "../src/verify/standing.ts";
import { Tree, leafHash, verifyConsistency, verifyInclusion } from "../src/verify/tree.ts";
import { VIEW_HEADER, cell, viewRows } from "../src/verify/view.ts";

type Case = Record<string, any>;
const vectors = (name: string): any => JSON.parse(readFileSync(`${process.env["VECTORS"]}/${name}.json`, "utf8"));

async function refused(step: () => unknown): Promise<boolean> {
  try {
    await step();
    return false;
  } catch (error) {
    if (error instanceof Refused) return true;
    throw error;
  }
}

test("commitments and leaves are those of the vectors", () => {
  const { commitments, leaves } = vectors("entry");
  for (const each of commitments as Case[]) {
    assert.equal(hex(decoded(commitment(unhex(each["opening"]), utf8(each["record"])))), each["commitment"]);
  }
  for (const { origin, kind, c, leaf, leaf_hash } of leaves as Case[]) {
    assert.equal(hex(leafHash(utf8(leaf))), leaf_hash);
    const found = new RegExp(`^${leafPattern(origin)}$`).exec(Buffer.from(leaf).toString("latin1"));
    assert.deepEqual([found?.[1], found?.[2]], [c, kind]);
  }
});

test("a tree has the roots of the vectors", () => {
  const { leaves, roots } = vectors("merkle");
  const tree = new Tree();
  for (const [size, leaf] of (leaves as string[]).entries()) {
    assert.equal(hex(tree.root()), roots[size]);
    tree.append(unhex(leaf));
  }
  assert.equal(hex(tree.root()), roots[leaves.length]);
});

test("inclusion proofs hold or not, as the vectors say", async () => {
  for (const { name, index, size, leaf_hash, proof, root, valid } of vectors("merkle")["inclusion"] as Case[]) {
    const bad = [leaf_hash, root, ...proof].some((each: string) => each.length !== 64);
    if (bad) continue; // the reader lets nothing else through
    const steps = proof.map(unhex);
    assert.equal(await refused(() => verifyInclusion(index, size, unhex(leaf_hash), steps, unhex(root))), !valid, name);
  }
});

test("consistency proofs hold or not, as the vectors say", async () => {
  for (const { name, old_size, new_size, old_root, new_root, proof, valid } of vectors("merkle")["consistency"] as Case[]) {
    if (Math.min(old_size, new_size) < 0 || [old_root, new_root, ...proof].some((each: string) => each.length !== 64)) continue;
    const [older, newer] = [
      { size: old_size, root: unhex(old_root) },
      { size: new_size, root: unhex(new_root) },
    ];
    assert.equal(await refused(() => verifyConsistency(older, newer, proof.map(unhex))), !valid, name);
  }
});

test("notes open under their key only", async () => {
  const { notes, keys, invalid_vkeys } = vectors("note");
  let opened = 0;
  for (const { name, note, vkeys, valid, text: expected } of notes as Case[]) {
    if (vkeys.length !== 1 || !(valid || note.includes("\u2014"))) continue;
    if (valid) assert.equal(await openNote(note, vkeys[0]), expected, name);
    else assert.ok(await refused(() => openNote(note, vkeys[0])), name);
    opened += Number(valid);
  }
  assert.ok(opened > 0);
  for (const { vkey, name, key_id } of keys as Case[]) {
    const key = await parseVkey(vkey);
    assert.deepEqual([key.name, hex(key.id)], [name, key_id]);
  }
  for (const each of invalid_vkeys as Case[]) assert.ok(await refused(() => parseVkey(each["vkey"])), each["name"]);
});

test("checkpoints open as the vectors say", async () => {
  let opened = 0;
  for (const { note, vkeys, origin, valid, size, root } of vectors("checkpoint")["signed"] as Case[]) {
    if (vkeys.length !== 1 || !valid) continue;
    const checkpoint = await openCheckpoint(note, vkeys[0], origin);
    assert.deepEqual([checkpoint.size, hex(checkpoint.root)], [size, root]);
    opened++;
  }
  assert.ok(opened > 0);
});

test("proofs that travel hold or not, as the vectors say", async () => {
  for (const { name, proof, leaf, vkeys, origin, valid, index, size, root } of vectors("tlog_proof") as Case[]) {
    if (vkeys.length !== 1) continue;
    const checked = () => verifyTlogProof(proof, unhex(leaf), vkeys[0], origin);
    if (valid) assert.deepEqual(await checked(), { index, size, root: base64(unhex(root)) }, name);
    else assert.ok(await refused(checked), name);
  }
});

test("certificates of erasures open as the vectors say", async () => {
  for (const { name, certificate, vkey, origin, valid, index, subject, commitment: committed } of vectors("certificate") as Case[]) {
    const opened = () => openCertificate(certificate, { keys: [vkey], origin });
    if (valid) assert.deepEqual(await opened(), { index, subject: subject ?? "-", committed: base64(unhex(committed)) }, name);
    else assert.ok(await refused(opened), name);
  }
});

test("canonical JSON of whole numbers is that of the vectors", () => {
  let written = 0;
  for (const { json: source, canonical: expected } of vectors("canonical_json")["valid"] as Case[]) {
    if (/\d[.eE]/.test(source)) continue; // no document of ours has fractions
    assert.equal(canonical(json(source)), expected);
    written++;
  }
  assert.ok(written > 5);
});

test("a validity ends on the day that the calendar has", async () => {
  assert.equal(after("2024-02-29T23:59:59.999Z", "P1Y"), "2025-02-28T23:59:59.999Z");
  assert.equal(after("2026-08-31T00:00:00.000Z", "P6M"), "2027-02-28T00:00:00.000Z");
  assert.equal(after("2026-11-22T12:34:56.789Z", "P1Y2M10DT2H30M5S"), "2028-02-01T15:05:01.789Z");
  assert.equal(after("2026-11-22T22:00:00.000Z", "PT36H"), "2026-11-24T10:00:00.000Z");
  for (const duration of ["P", "PT", "6M", "P1.5D", ""]) assert.ok(await refused(() => after("2026-11-22T12:34:56.789Z", duration)));
  assert.ok(await refused(() => after("2026-02-30T00:00:00.000Z", "P1D")));
  assert.throws(() => after("9999-12-31T23:59:59.999Z", "PT5M"), RangeError);
});

/** Return a pack of one member, deflated. */
function packOf(name: string, contents: string): Uint8Array<ArrayBuffer> {
  const deflated = deflateRawSync(contents);
  const [crc, stored, size] = [crc32(utf8(contents)), deflated.length, contents.length];
  const short = (...values: number[]) => Buffer.concat(values.map((value) => Buffer.from(Uint16Array.of(value).buffer)));
  const long = (...values: number[]) => Buffer.concat(values.map((value) => Buffer.from(Uint32Array.of(value).buffer)));
  const local = Buffer.concat([long(0x04034b50), short(20, 8, 8, 0, 0x21), long(0, 0, 0), short(name.length, 0), Buffer.from(name)]);
  const member = Buffer.concat([local, deflated, long(0x08074b50, crc, stored, size)]);
  const central = [long(0x02014b50), short(0x314, 20, 8, 8, 0, 0x21), long(crc, stored, size), short(name.length, 0, 0, 0, 0), long(0o600 * 0x10000, 0)];
  const directory = Buffer.concat([...central, Buffer.from(name)]);
  const end = Buffer.concat([long(0x06054b50), short(0, 0, 1, 1), long(directory.length, member.length), short(0)]);
  return new Uint8Array(Buffer.concat([member, directory, end]));
}

test("who leaves a member in the middle is not kept waiting", { timeout: 20_000 }, async () => {
  for (const lines of [3, 100_000]) {
    const pack = await Pack.open(fromBytes(packOf("entries/000000.ndjson", "{}\n".repeat(lines))));
    let found = 0;
    for await (const some of pack.lines("entries/000000.ndjson")) {
      found += some.length;
      break;
    }
    assert.ok(found > 0);
  }
});

test("canonical are documents that say the same to every reader", () => {
  for (const same of ['{"a":9007199254740991}', '{"a":"\u00e9\u{1f600}"}', "[-1,0,null,true]"]) assert.ok(isCanonical(utf8(same)), same);
  const others = ['{"a":1.0}', '{"a":1.5}', '{"a":1e3}', '{"a":9007199254740993}', '{"a":-0}', '{"a":"\\ud800"}', '{"\u00e9":1}', "[NaN]", '{"b":1,"a":1}', '{"a":1,"a":1}'];
  for (const other of others) assert.ok(!isCanonical(utf8(other)), other);
});

test("no cell of a table is a formula", () => {
  assert.deepEqual(["=1", "+1", "-1", "@a", "\ta", 'a"b', "ok"].map(cell), [`"'=1"`, `"'+1"`, `"'-1"`, `"'@a"`, `"'\ta"`, `"a""b"`, `"ok"`]);
});

test("a link that changed nothing is a whole row of the table", () => {
  const record = { recorded_at: "2026-11-22T12:34:56.789Z", subject: "s_a", actor: "backend", linked: "s_b", consents: "" };
  const row = viewRows(7, "link", record);
  assert.equal(row, '7,link,2026-11-22T12:34:56.789Z,,"s_a","","","backend","",,,"",,,\r\n');
  assert.equal(row.split(",").length, VIEW_HEADER.split(",").length);
});

test("bytes and base64 have one spelling each", async () => {
  for (const spelling of ["AB==", "AA", "AA==\n", " AA==", "A-A=", "\u00e9"]) assert.ok(await refused(() => decoded(spelling)), spelling);
  assert.ok(await refused(() => text(new Uint8Array([0xc3, 0x28]))));
});
