/** A receipt: one decision with its evidence, in whatever form it was taken home. */
import { AMBIGUOUS, type Bytes, type Json, type Members, Fault, Refused, binary, canonical, decoded, hash, hex, isCanonical, json, text, unbinary, unhex, utf8 } from "./bytes.ts";
import type { Source } from "./container.ts";
import { cosigned, openCheckpoint, openNote } from "./note.ts";
import { commitment, leafPattern, parseRecord } from "./record.ts";
import { leafHash, verifyInclusion } from "./tree.ts";

const LARGEST = 16 << 20;
const MARK = /(?:^|\n)-----CONSENT EVIDENCE-----\r?\n/;
const HTML = /<script type="application\/json" id="consent-evidence">([^<]*)<\/script>/;
const MEMBERS = ["index", "leaf", "notice", "opening", "origin", "proof", "record", "v", "vkey"];

export interface VerifiedReceipt {
  origin: string;
  vkey: string;
  keyPinned: boolean;
  index: number;
  size: number;
  root: string;
  recordedAt: string;
  decidedAt: string;
  cosignatures: number;
  choices: { purpose: string; name: string; status: string; until: string }[];
}

interface Evidence {
  origin: string;
  vkey: string;
  index: number;
  leaf: string;
  opening: string;
  record: string;
  notice: string;
  proof: string;
}

/** Return what a receipt shows, checked under the key given, or else under the one that it names itself.
 *
 * (1) the log's key signed the checkpoint, and so did every one of the witnesses; (2) the leaf is at its index under the checkpoint's root; (3) the leaf commits to the
 * record; (4) the words are those that the record names. */
export async function verifyReceipt(source: Source, vkey: string | null = null, witnesses: readonly string[] = []): Promise<VerifiedReceipt> {
  if (source.size > LARGEST) throw new Fault("receipt", "file", "is larger than any receipt");
  const evidence = read(await evidenceIn(await source.read(0, source.size)));
  const checkpoint = await check("proof", () => proven(evidence, vkey ?? evidence.vkey));
  await check("cosignatures", () => witnessed(evidence.proof, witnesses));
  const record = await check("commitments", () => committed(evidence));
  const words = hex(hash(utf8(evidence.notice)));
  if (record["notice"] !== words) throw new Fault("notices", words, "the words are not those that the decision was made under");
  if (!isCanonical(utf8(evidence.notice))) throw new Fault("notices", words, AMBIGUOUS);
  const outcomes = [...record["consents"]!.matchAll(/"([^"]+)":\{"status":"([a-z]+)","valid_until":"([^"]+)"\}/g)];
  return {
    origin: evidence.origin,
    vkey: vkey ?? evidence.vkey,
    keyPinned: vkey !== null,
    index: evidence.index,
    ...checkpoint,
    recordedAt: record["recorded_at"]!,
    decidedAt: record["decided_at"]!,
    cosignatures: witnesses.length,
    choices: outcomes.map(([, purpose, status, until]) => ({
      purpose: purpose!,
      name: nameOf(json(evidence.notice), purpose!, record["language"]!),
      status: status!,
      until: until!,
    })),
  };
}

async function check<Result>(step: string, taken: () => Result | Promise<Result>): Promise<Result> {
  try {
    return await taken();
  } catch (error) {
    if (error instanceof Refused) throw new Fault(step, "evidence", error.message);
    throw error;
  }
}

/** Check the C2SP tlog-proof of the evidence; return the checkpoint that vouches for it. */
async function proven({ proof, leaf, index, origin }: Evidence, vkey: string): Promise<{ size: number; root: string }> {
  const checked = await verifyTlogProof(proof, utf8(leaf), vkey, origin);
  if (checked.index !== index) throw new Refused("the proof is of another entry");
  return { size: checked.size, root: checked.root };
}

/** Return index, size and root of a C2SP tlog-proof of `leaf`; refuse one that does not hold. */
export async function verifyTlogProof(
  proof: string,
  leaf: Bytes,
  vkey: string,
  origin: string,
): Promise<{ index: number; size: number; root: string }> {
  const cut = proof.indexOf("\n\n");
  const [header, ...lines] = proof.slice(0, cut).split("\n");
  if (lines[0]?.startsWith("extra ") && !decoded(lines.shift()!.slice(6)).length) throw new Refused("an empty extra line");
  const index = /^index (0|[1-9]\d{0,18})$/.exec(lines.shift() ?? "");
  if (cut < 0 || header !== "c2sp.org/tlog-proof@v1" || !index) throw new Refused("not a tlog-proof");
  const note = proof.slice(cut + 2);
  // eslint-disable-next-line no-control-regex -- these are what a note may not have
  if (/[\x00-\x09\x0b-\x1f\x7f-\x9f]/.test(await openNote(note, vkey))) throw new Refused("control characters in a checkpoint");
  const checkpoint = await openCheckpoint(note, vkey, origin);
  const steps = lines.map((line) => decoded(line, 32));
  verifyInclusion(Number(index[1]), checkpoint.size, leafHash(leaf), steps, checkpoint.root);
  return { index: Number(index[1]), size: checkpoint.size, root: btoa(binary(checkpoint.root)) };
}

/** Refuse a proof whose checkpoint one of these witnesses did not cosign. */
async function witnessed(proof: string, witnesses: readonly string[]): Promise<void> {
  const note = proof.slice(proof.indexOf("\n\n") + 2);
  for (const vkey of witnesses) {
    if (!(await cosigned(note, vkey))) throw new Refused("the checkpoint lacks the cosignatures that you ask for");
  }
}

function committed({ leaf, origin, opening, record }: Evidence): { [name: string]: string } {
  const found = new RegExp(`^${leafPattern(origin)}$`).exec(binary(utf8(leaf)));
  if (found?.[2] !== "decision") throw new Refused("the leaf is another log's, or not that of a decision");
  if (!/^[0-9a-f]{64}$/.test(opening) || commitment(unhex(opening), utf8(record)) !== found[1]) {
    throw new Refused("the leaf does not commit to this record and opening");
  }
  return parseRecord("decision", record) ?? refuseRecord();
}

function refuseRecord(): never {
  throw new Refused("the record is not one in canonical form");
}

function read(document: Json): Evidence {
  const found = document as Members;
  if (document === null || typeof document !== "object" || Array.isArray(document) || !MEMBERS.every((name) => Object.hasOwn(found, name))) {
    throw new Fault("receipt", "evidence", "has other members than the toolkit writes");
  }
  const texts = MEMBERS.filter((name) => name !== "v" && name !== "index").every((name) => typeof found[name] === "string");
  if (Object.keys(found).length !== MEMBERS.length || found["v"] !== 1 || !texts || !Number.isSafeInteger(found["index"])) {
    throw new Fault("receipt", "evidence", "has another form than the toolkit writes");
  }
  return found as unknown as Evidence;
}

/** Return the evidence that a file carries: JSON, HTML, text or PDF. */
async function evidenceIn(bytes: Bytes): Promise<Json> {
  const nothing = new Fault("receipt", "file", "is neither an audit pack nor a receipt with evidence");
  try {
    if (binary(bytes.subarray(0, 5)) === "%PDF-") return (await attached(bytes)) ?? refuseFile(nothing);
    const source = text(bytes);
    const inside = HTML.exec(source)?.[1] ?? (MARK.test(source) ? source.split(MARK).at(-1)! : null);
    const document = json(inside ?? source);
    if (inside !== null) return document;
    const carried = document !== null && typeof document === "object" && !Array.isArray(document) ? document["evidence"] : undefined;
    return carried ?? (document as Members)["proof"] !== undefined ? (carried ?? document) : refuseFile(nothing);
  } catch (error) {
    throw error instanceof Fault ? error : nothing;
  }
}

function refuseFile(fault: Fault): never {
  throw fault;
}

/** Return the evidence among the streams of a PDF, which are deflated or plain. */
async function attached(bytes: Bytes): Promise<Json | null> {
  const characters = binary(bytes);
  for (const { index, 0: mark } of characters.matchAll(/stream\r?\n/g)) {
    const end = characters.indexOf("endstream", index + mark.length);
    if (characters.slice(index - 3, index) === "end" || end < 0) continue;
    const stream = unbinary(characters.slice(index + mark.length, end).replace(/\r?\n$/, ""));
    for (const data of [stream, await inflated(stream)]) {
      if (data?.[0] !== 0x7b) continue;
      try {
        const document = json(text(data));
        if (canonical(document).startsWith('{"index":') && (document as Members)["v"] === 1) return document;
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
      }
    }
  }
  return null;
}

async function inflated(data: Bytes): Promise<Bytes | null> {
  const reader = new Blob([data]).stream().pipeThrough(new DecompressionStream("deflate")).getReader();
  const pieces: Bytes[] = [];
  let total = 0;
  try {
    for (let step = await reader.read(); !step.done; step = await reader.read()) {
      pieces.push(step.value as Bytes);
      total += step.value.length;
      if (total > LARGEST) break;
    }
  } catch {
    return null;
  } finally {
    await reader.cancel().catch(() => undefined);
  }
  return new Uint8Array(await new Blob(pieces).arrayBuffer());
}

/** Return a purpose's name in the language of a decision, or a wider one (RFC 4647 look-up). */
function nameOf(notice: Json, purpose: string, language: string): string {
  const names = ((((notice as Members)["purposes"] as Members)?.[purpose] as Members)?.["name"] ?? {}) as Record<string, string>;
  for (let tag = language.toLowerCase(); tag; tag = tag.slice(0, Math.max(0, tag.lastIndexOf("-")))) {
    const written = Object.keys(names).find((each) => each.toLowerCase() === tag);
    if (written !== undefined) return names[written]!;
  }
  return Object.values(names)[0] ?? purpose;
}
