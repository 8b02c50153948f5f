/** (2) Signatures: C2SP signed notes and checkpoints. */
import { type Bytes, decoded, hash, hex, refuse, same, utf8 } from "./bytes.ts";

export interface Key {
  name: string;
  id: Bytes;
  verifies(signature: Bytes, message: Bytes): Promise<boolean>;
}

export interface Checkpoint {
  size: number;
  root: Bytes;
}

const known = new Map<string, Key>();

/** Return the key of a C2SP vkey, of a log (type 1) or a witness (type 4); refuse what is none. */
export async function parseVkey(vkey: string, type = 1): Promise<Key> {
  const before = known.get(vkey + type);
  if (before) return before;
  const [, name, stated, encoded] = /^([^+]*)\+([^+]*)\+([^]*)$/.exec(vkey) ?? refuse("not an Ed25519 verifier key");
  const key = decoded(encoded!, 33);
  const id = hash(utf8(`${name}\n`), key).slice(0, 4);
  if (key[0] !== type || hex(id) !== stated || !name) refuse("not an Ed25519 verifier key");
  const imported = await crypto.subtle.importKey("raw", key.slice(1), "Ed25519", false, ["verify"]).catch(() => refuse("not an Ed25519 verifier key"));
  const made: Key = { name: name!, id, verifies: (signature, message) => crypto.subtle.verify("Ed25519", imported, signature, message) };
  if (known.size < 1000) known.set(vkey + type, made);
  return made;
}

/** Return the text of a signed note that `vkey` signed (`alone`: and nobody else); refuse any other. */
export async function openNote(note: string, vkey: string, alone = false): Promise<string> {
  const key = await parseVkey(vkey);
  const cut = note.lastIndexOf("\n\n");
  const signatures = note.slice(cut + 2);
  if (cut < 0 || !signatures.endsWith("\n")) refuse("not a signed note");
  const signed = utf8(note.slice(0, cut + 1));
  const lines = signatures.slice(0, -1).split("\n");
  let mine = 0;
  for (const line of lines) {
    const [mark, signer, encoded, ...more] = line.split(" ");
    if (encoded === undefined || more.length) refuse("not a signature line");
    const signature = decoded(encoded!);
    if (mark !== "\u2014" || !signer || signer.includes("+")) refuse("not a signature line");
    if (signer === key.name && same(signature.subarray(0, 4), key.id)) {
      if (!(await key.verifies(signature.slice(4), signed))) refuse("the signature does not verify");
      mine++;
    }
  }
  if (!mine || (alone && lines.length !== 1)) refuse("the log's key did not sign this");
  return note.slice(0, cut + 1);
}

/** Return whether this witness cosigned a checkpoint (C2SP tlog-cosignature); refuse a cosignature that does not verify. */
export async function cosigned(note: string, vkey: string): Promise<boolean> {
  const { name, id, verifies } = await parseVkey(vkey, 4);
  const cut = note.lastIndexOf("\n\n");
  let found = false;
  for (const line of note.slice(cut + 2, -1).split("\n")) {
    const [, signer, encoded = ""] = line.split(" ");
    const data = decoded(encoded);
    if (signer !== name || !same(data.subarray(0, 4), id)) continue;
    const seconds = data.length < 12 ? 0n : new DataView(data.buffer, data.byteOffset).getBigUint64(4);
    const message = utf8(`cosignature/v1\ntime ${seconds}\n${note.slice(0, cut + 1)}`);
    if (!(await verifies(data.slice(12), message))) refuse(`the cosignature of ${name} does not verify`);
    if (seconds >= 1n << 63n) refuse("the time of a cosignature is beyond 2^63 - 1");
    found = true;
  }
  return found;
}

/** Return size and root of a checkpoint of this log (C2SP tlog-checkpoint); refuse any other. */
export async function openCheckpoint(note: string, vkey: string, origin: string): Promise<Checkpoint> {
  const [first, size = "", root = ""] = (await openNote(note, vkey)).split("\n");
  if (first !== origin || !/^(?:0|[1-9]\d{0,18})$/.test(size)) refuse("a checkpoint of another log");
  return { size: Number(size), root: decoded(root, 32) };
}
