/** (11) Erasures: each has a certificate, and as many records are missing before it as were destroyed by then. */
import { type Bytes, type Json, Fault, decoded, json, member, noted, refuse, utf8 } from "./bytes.ts";
import type { Entry } from "./entries.ts";
import type { Pack } from "./container.ts";
import { ERASURES as MEMBER, type Manifest, reason } from "./manifest.ts";
import { openNote } from "./note.ts";
import { commitment, parseRecord } from "./record.ts";

export class Erasures {
  private destroyed = 0;
  private readonly lines: AsyncGenerator<Bytes>;

  constructor(
    pack: Pack,
    private readonly manifest: Manifest,
  ) {
    this.lines = linesOf(pack);
  }

  /** Check the next certificate against the next erasure; `missing` records are missing before it. */
  async follow({ index, committed, record }: Entry, missing: number): Promise<void> {
    const counts = json(`{${record!["destroyed"]}}`);
    this.destroyed += Object.hasOwn(counts as object, "records") ? (member(counts, "records") as number) : 0;
    const { value: line } = await this.lines.next();
    if (!line) throw new Fault("erasures", MEMBER, "an erasure has no certificate", index);
    let stated;
    try {
      stated = await openCertificate(noted(line as Bytes), this.manifest);
    } catch (error) {
      throw new Fault("erasures", MEMBER, reason(error), index);
    }
    if (stated.index !== index || stated.subject !== "-" || stated.committed !== committed) {
      throw new Fault("erasures", MEMBER, "a certificate says something else", index);
    }
    if (this.manifest.from === 0 && this.destroyed > missing) {
      throw new Fault("erasures", "destroyed", "more records were destroyed by then than are missing before it", index);
    }
  }

  /** Check that there is no certificate more. */
  async end(): Promise<void> {
    if (!(await this.lines.next()).done) throw new Fault("erasures", MEMBER, "has a certificate of no erasure in this pack");
  }

  /** Check that all that is missing was destroyed; return what there is to say about it. */
  check(missing: number): string[] {
    const { from, to, head } = this.manifest;
    if (from === 0 && to === head && this.destroyed !== missing) {
      throw new Fault("counts", "erased", `${missing} records are missing, erasures destroyed ${this.destroyed}`);
    }
    return missing && (from || to !== head) ? [`${missing} records are missing; erasures outside this period may account for them.`] : [];
  }

}

interface Certificate {
  index: number;
  subject: string;
  committed: string;
}

/** Return index, subject (- for nobody) and commitment of a certificate of an erasure; refuse any other note. */
export async function openCertificate(note: Json, { keys, origin }: { keys: string[]; origin: string }): Promise<Certificate> {
  if (typeof note !== "string") throw new TypeError("not a text");
  let lines: string[] = [];
  for (const vkey of keys) {
    const opened = await openNote(note, vkey, true).catch(() => null);
    if (opened !== null) lines = opened.split("\n");
  }
  const [header, log, index = "", subject = "", opening = "", destroyed = ""] = lines;
  if (lines.length !== 7 || header !== "consent-erasure/v1" || log !== origin) refuse("is none that a key of this log signed");
  if (!/^(?:0|[1-9]\d{0,17})$/.test(index) || !parseRecord("erasure", destroyed)) refuse("has a line that cannot be read");
  return { index: Number(index), subject, committed: commitment(decoded(opening, 32), utf8(destroyed)) };
}

async function* linesOf(pack: Pack): AsyncGenerator<Bytes> {
  for await (const lines of pack.lines(MEMBER)) yield* lines;
}
