/** A log's signing keys so far: which one signed, and how each handed over to the next. */
import { Fault, Refused, type Bytes, type Json } from "./bytes.ts";
import { MANIFEST, type Manifest, SIGNATURE } from "./manifest.ts";
import { type Checkpoint, openCheckpoint } from "./note.ts";

export class KeyHistory {
  private readonly handoffs: { index: number; previous: string; vkey: string }[] = [];
  private readonly signers: { size: number; keys: Set<string> }[] = [];

  /** Take the keys of a manifest; the one that was given has to be among them, the last one signed. */
  constructor(
    private readonly manifest: Manifest,
    private readonly pinned: string | null,
  ) {
    if (manifest.keys.at(-1) !== manifest.vkey) throw new Fault("manifest", MANIFEST, "its last key is not the one that signed it");
    if (pinned !== null && !manifest.keys.includes(pinned)) {
      throw new Fault("manifest", SIGNATURE, "signed by a foreign key: not the one that you gave");
    }
  }

  /** Return size and root of a checkpoint that at least one of the keys signed. */
  async signed(note: Json): Promise<{ size: number; root: Bytes; signers: number }> {
    if (typeof note !== "string") throw new TypeError("not a text");
    const keys = new Set<string>();
    let [found, reason]: [Checkpoint | null, Refused] = [null, new Refused("the log has no key")];
    for (const vkey of this.manifest.keys) {
      try {
        found = await openCheckpoint(note, vkey, this.manifest.origin);
        keys.add(vkey);
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        reason = error;
      }
    }
    if (!found) throw reason;
    this.signers.push({ size: found.size, keys });
    return { ...found, signers: keys.size };
  }

  /** Note an entry that says one key replaced another. */
  replaced(index: number, previous: string, vkey: string): void {
    this.handoffs.push({ index, previous, vkey });
  }

  /** Follow the keys: each is named in an entry, under a checkpoint that the one before signed.
   *
   * From that entry on the new one signs every checkpoint. */
  check(): void {
    const { keys, mode, from, to, head } = this.manifest;
    for (const { size, keys: by } of this.signers) {
      const newest = this.handoffs.findLast(({ index }) => index < size);
      if (newest && !by.has(newest.vkey)) throw new Fault("checkpoints", `size ${size}`, "is signed by an old key only, which another had replaced");
    }
    const steps = keys.slice(1).map((vkey, at) => ({ previous: keys[at]!, vkey }));
    let wanted = this.pinned === null ? [] : steps.slice(keys.indexOf(this.pinned));
    if (mode === "range" && from === 0) {
      const later = to === head ? steps.length : this.handoffs.length;
      if (this.handoffs.length !== later || this.handoffs.some(({ vkey }, at) => vkey !== steps[at]?.vkey)) {
        throw new Fault("manifest", "keys", "are not those that the log's entries introduce");
      }
      wanted = [...steps.slice(0, later), ...wanted];
    }
    for (const step of wanted) {
      const shown = this.handoffs.some(
        ({ index, previous, vkey }) =>
          previous === step.previous && vkey === step.vkey && this.signers.some(({ size, keys: by }) => size > index && by.has(previous)),
      );
      if (!shown) throw new Fault("manifest", "keys", "the pack does not show how a key was replaced: give the newest, or take a whole pack");
    }
  }
}
