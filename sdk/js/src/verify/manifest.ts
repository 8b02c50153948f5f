/** (2) The manifest: what a pack says it has, under the log's signature. */
import { type Json, type Members, Fault, Refused, base64, hash, isCanonical, json, member, text } from "./bytes.ts";
import { LARGEST_MANIFEST, MEGABYTE, type Pack } from "./container.ts";
import { openNote } from "./note.ts";
import { after } from "./standing.ts";

export const MANIFEST = "manifest.json";
export const SIGNATURE = "manifest.note";
export const ERASURES = "erasures.ndjson";
const NOT_OURS = "is not the one that was signed, or not of this version";
const HEADER = "consent-audit-pack/v1";

export interface Listed {
  name: string;
  size: number;
  sha256: string;
  raw: string;
}

export interface Manifest {
  origin: string;
  vkey: string;
  keys: string[];
  mode: "range" | "subject";
  from: number;
  to: number;
  head: number;
  root: string;
  made_at: string;
  start: Members | null;
  since: Members | null;
  counts: Record<string, number>;
  members: Listed[];
}

const CHUNK = /^(?:(entries\/\d{6}\.ndjson)|table\/(\d{6})\.csv|(?:table|leaves)\/(\d{6})\.parquet)$/;
const SINGLE = /^(?:notices\/[0-9a-f]{64}\.json|verify\.py|index\.html|checkpoints\.ndjson|erasures\.ndjson)$/;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const CLOCK_TOLERANCE = "PT300S";

export const reason = (error: unknown): string => (error instanceof Refused ? error.message : error instanceof Error ? error.name : "error");

/** Return the manifest that the key it names signed alone. */
export async function readManifest(pack: Pack): Promise<Manifest> {
  const data = await pack.read(MANIFEST, LARGEST_MANIFEST);
  const note = await pack.read(SIGNATURE, MEGABYTE);
  let document: Json;
  let signed: boolean;
  try {
    document = json(text(data));
    const [origin, vkey] = [member(document, "origin"), member(document, "vkey")];
    if (typeof vkey !== "string") throw new TypeError("not a text");
    if (typeof origin !== "string") throw new Fault("manifest", MANIFEST, NOT_OURS);
    signed = (await openNote(text(note), vkey, true)) === `${HEADER}\n${origin}\n${base64(hash(data))}\n`;
    madeBy(member(document, "made_at"));
  } catch (error) {
    if (error instanceof Fault) throw error;
    throw new Fault("manifest", SIGNATURE, `${reason(error)}: changed after signing`);
  }
  if (!signed || !isCanonical(data) || !wellFormed(document as Members)) {
    throw new Fault("manifest", MANIFEST, NOT_OURS);
  }
  return document as unknown as Manifest;
}

/** Return when an entry was recorded at the latest that is in a pack made then: clocks differ. */
export function madeBy(moment: Json): string {
  if (typeof moment !== "string" || !TIME.test(moment)) throw new Refused("not a time");
  return after(moment, CLOCK_TOLERANCE);
}

type Form = Record<string, (value: unknown) => boolean>;
const isObject = (value: unknown): boolean => value !== null && typeof value === "object" && !Array.isArray(value);
const isText = (value: unknown): boolean => typeof value === "string";
const are = (fits: (value: unknown) => boolean) => (value: unknown): boolean => Array.isArray(value) && value.every(fits);
/** Say whether a document has exactly the members of a form, each as it has to be. */
const has = (form: Form) => (value: unknown): boolean =>
  isObject(value) &&
  Object.keys(value as object).length === Object.keys(form).length &&
  Object.entries(form).every(([name, fits]) => Object.hasOwn(value as object, name) && fits((value as Members)[name]));
const orNull = (fits: (value: unknown) => boolean) => (value: unknown): boolean => value === null || fits(value);

const LISTED: Form = { name: isText, size: Number.isSafeInteger, sha256: isText, raw: isText };
const MANIFEST_FORM: Form = {
  ...Object.fromEntries(["pack", "from", "to", "head"].map((name) => [name, Number.isSafeInteger])),
  ...Object.fromEntries(["origin", "vkey", "made_at", "software", "mode", "root"].map((name) => [name, isText])),
  start: orNull(has({ peaks: are(isText) })),
  since: orNull(has({ size: Number.isSafeInteger, root: isText, proof: are(isText) })),
  counts: (value) => isObject(value) && Object.values(value as object).every(Number.isSafeInteger),
  members: are(has(LISTED)),
  keys: are(isText),
};

/** Say whether a manifest has the members of this version, each of its form and in its range. */
function wellFormed(manifest: Members): boolean {
  const { from, to, head, mode, keys } = manifest as unknown as Manifest;
  return (
    has(MANIFEST_FORM)(manifest) &&
    manifest["pack"] === 1 &&
    (mode === "range" || mode === "subject") &&
    0 <= from &&
    from <= to &&
    to <= head &&
    (manifest["start"] === null) === (from === 0) &&
    (mode === "range" || from === 0) &&
    keys.length > 0
  );
}

/** Check the members against the manifest: all there, in order, byte for byte, and nothing else. */
export async function checkMembers(pack: Pack, manifest: Manifest, progress: (bytes: number) => void): Promise<number> {
  const listed = [...manifest.members.map((each) => each.name), MANIFEST, SIGNATURE];
  const found = [...pack.members.keys()];
  for (const [at, expected] of listed.entries()) {
    if (at < found.length && found[at] !== expected) {
      throw new Fault("container", expected, `missing or out of order: ${found[at]} stands in its place`);
    }
  }
  if (listed.length !== found.length) throw new Fault("container", "directory", "a member is missing or was added");
  for (const { name, raw, size } of manifest.members) {
    if (!known(name, pack, manifest.mode)) throw new Fault("container", name, "is nothing that a pack has");
    const there = pack.members.get(name)!;
    if ((await pack.rawDigest(there)) !== raw || there.size !== size) {
      throw new Fault("container", name, "its bytes are not those that were signed");
    }
    progress(there.end);
  }
  return manifest.members.length;
}

/** Say whether a pack has such a member: a table or leaves only of entries that are there; of one subject, nothing that is not read. */
function known(name: string, pack: Pack, mode: Manifest["mode"]): boolean {
  const chunk = CHUNK.exec(name);
  if (!chunk) return SINGLE.test(name) && !(mode === "subject" && name === ERASURES);
  if (mode === "subject") return /^(?:entries|table)\/000000\./.test(name);
  return chunk[1] !== undefined || pack.members.has(`entries/${chunk[2] ?? chunk[3]}.ndjson`);
}
