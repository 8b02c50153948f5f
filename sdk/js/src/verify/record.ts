/** (4) and (5): leaves, records in their one form, and the commitments between them. */
import { type Bytes, base64, binary, hasher, utf8 } from "./bytes.ts";

const TIME = String.raw`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`;
const WORD = String.raw`[^"\\\x00-\x1f]*`;
const B64 = String.raw`(?:null|"[A-Za-z0-9+/]{43}=")`;
const OUTCOMES = String.raw`(?:"[a-z0-9_.-]+":\{"status":"[a-z]+","valid_until":"${TIME}"\},?)*`;
const SPELLINGS = {
  decision:
    String.raw`\{"actor":"(?<actor>${WORD})","choices":\{(?<choices>(?:"[a-z0-9_.-]+":"[a-z]+",?)+)\},` +
    String.raw`"consents":\{(?<consents>${OUTCOMES})\},"decided_at":"(?<decided_at>${TIME})",` +
    String.raw`"evidence":(?<evidence>null|"[0-9a-f]{64}"),"gpc":(?<gpc>true|false),"kind":"decision",` +
    String.raw`"language":"(?<language>${WORD})","method":"(?<method>${WORD})","notice":"(?<notice>[0-9a-f]{64})",` +
    String.raw`"prev":(?<prev>${B64}),"recorded_at":"(?<recorded_at>${TIME})","source":"(?<source>${WORD})",` +
    String.raw`"subject":"(?<subject>${WORD})","v":1\}`,
  link:
    String.raw`\{"actor":"(?<actor>${WORD})","consents":\{(?<consents>${OUTCOMES})\},"kind":"link",` +
    String.raw`"linked":"(?<linked>${WORD})","prev":(?<prev>${B64}),"recorded_at":"(?<recorded_at>${TIME})",` +
    String.raw`"subject":"(?<subject>${WORD})","v":1\}`,
  notice:
    String.raw`\{"kind":"notice","notice":"(?<notice>[0-9a-f]{64})",` +
    String.raw`"recorded_at":"(?<recorded_at>${TIME})","supersedes":(?<supersedes>null|"[0-9a-f]{64}"),"v":1\}`,
  erasure:
    String.raw`\{"destroyed":\{(?<destroyed>(?:"[a-z_]+":\d{1,15},?)*)\},` +
    String.raw`"evidence_until":(?:null|"${TIME}"),"kind":"erasure","recorded_at":"(?<recorded_at>${TIME})","v":1\}`,
  key:
    String.raw`\{"kind":"key","previous":(?<previous>null|"${WORD}"),"recorded_at":"(?<recorded_at>${TIME})",` +
    String.raw`"v":1,"version":\d{1,9},"vkey":(?<vkey>null|"${WORD}"),"what":"${WORD}"\}`,
};

export type Kind = keyof typeof SPELLINGS;
export const KINDS = Object.keys(SPELLINGS) as Kind[];
/** The members of a record by name, as they are written. */
export type Record_ = { [name: string]: string };

const FORMS = Object.fromEntries(KINDS.map((kind) => [kind, new RegExp(`^(?:${SPELLINGS[kind]})$`)])) as Record<Kind, RegExp>;

const blockOf = (byte: number): Bytes => {
  const block = new Uint8Array(64);
  block.set(utf8("consent/v1"));
  return block.map((each) => each ^ byte);
};
// HMAC (RFC 2104) with a constant key begins with two constant blocks: hashed once, their states copied.
const INNER = hasher().update(blockOf(0x36));
const OUTER = hasher().update(blockOf(0x5c));

/** Return HMAC-SHA256(key "consent/v1", opening || record) in base64. */
export function commitment(opening: Uint8Array, record: Uint8Array): string {
  const inner = INNER.clone().update(opening).update(record).digest();
  return base64(OUTER.clone().update(inner).digest());
}

export type Choices = readonly (readonly [purpose: string, choice: string])[];
const choicesOf = new Map<string, Choices | null>();

/** Return the choices of a decision, sorted by purpose, or null unless canonical. */
export function parseChoices(spelling: string): Choices | null {
  const before = choicesOf.get(spelling);
  if (before !== undefined) return before;
  const choices = [...spelling.matchAll(/"([a-z0-9_.-]+)":"(granted|denied)"/g)].map((found) => [found[1]!, found[2]!] as const);
  const canonical =
    choices.map(([purpose, choice]) => `"${purpose}":"${choice}"`).join(",") === spelling &&
    choices.every(([purpose], at) => at === 0 || choices[at - 1]![0] < purpose);
  const result = canonical ? choices : null;
  if (choicesOf.size < 10_000) choicesOf.set(spelling, result);
  return result;
}

/** Return the members of a record of this kind, or null unless the text is canonical. */
export function parseRecord(kind: Kind, record: string): Record_ | null {
  const found = FORMS[kind].exec(record)?.groups as Record_ | undefined;
  if (!found || (kind === "decision" && !parseChoices(found["choices"]!))) return null;
  return found;
}

/** Return the pattern that a leaf of this log has, one character for each byte, with its commitment and kind. */
export function leafPattern(origin: string): string {
  const log = binary(utf8(JSON.stringify(origin))).replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
  return String.raw`\{"c":"([A-Za-z0-9+/]{43}=)","kind":"(${KINDS.join("|")})","log":${log},"v":1\}`;
}
