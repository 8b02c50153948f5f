/** (4) and (5) A line of entries: a leaf in canonical form, and the record that it commits to. */
import { type Bytes, Fault, Refused, binary, text, unbinary, unhex } from "./bytes.ts";
import type { Manifest } from "./manifest.ts";
import { type Kind, type Record_, commitment, leafPattern, parseRecord } from "./record.ts";

export interface Entry {
  index: number;
  leaf: Bytes;
  committed: string;
  kind: Kind;
  /** Null where it was erased. */
  record: Record_ | null;
  proof: string | undefined;
}

const ASCII = /^[\x00-\x7f]*$/;

/** Reads the entries of one log. */
export class EntryReader {
  private readonly line: RegExp;
  private readonly decoder = new TextDecoder();

  constructor({ origin, mode }: Manifest) {
    const proof = mode === "subject" ? String.raw`(?:,"proof":\[([^\]]*)\])?` : "";
    this.line = new RegExp(
      String.raw`^\{"index":(0|[1-9]\d{0,17}),"leaf":(${leafPattern(origin)}),` +
        String.raw`(?:"erased":true|"opening":"([0-9a-f]{64})","record":(\{[^\n]*\}))${proof}\}$`,
    );
  }

  /** Take steps (4) and (5) for one line of a member; throw a `Fault`. */
  read(line: Bytes, name: string): Entry {
    let characters = this.decoder.decode(line);
    const plain = ASCII.test(characters);
    if (!plain) characters = binary(line);
    const found = this.line.exec(characters);
    if (!found) throw new Fault("entries", name, "a line that is no entry of this log");
    const [, number, leafText, committed, kindText, opening, recordText, proof] = found as unknown as string[] & { 5: string | undefined };
    const [index, kind] = [Number(number), kindText as Kind];
    const start = 17 + number!.length;
    const leaf = line.subarray(start, start + leafText!.length);
    if (opening === undefined && kind !== "decision" && kind !== "link") {
      throw new Fault("entries", name, "a record of this kind is public, and never erased", index);
    }
    if (opening === undefined) return { index, leaf, committed: committed!, kind, record: null, proof };
    const at = start + leafText!.length + 87;
    if (commitment(unhex(opening), line.subarray(at, at + recordText!.length)) !== committed) {
      throw new Fault("commitments", name, "the leaf does not commit to this record and opening", index);
    }
    let record: Record_ | null = null;
    try {
      record = parseRecord(kind, plain ? recordText! : text(unbinary(recordText!)));
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
    }
    if (!record) throw new Fault("entries", name, "the record is not one in canonical form", index);
    return { index, leaf, committed: committed!, kind, record, proof };
  }
}
