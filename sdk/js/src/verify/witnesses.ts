/** Cosignatures: whether the witnesses that were named saw what the pack shows. */
import { Fault, type Json, Refused } from "./bytes.ts";
import type { Manifest } from "./manifest.ts";
import { cosigned } from "./note.ts";

export class Witnesses {
  count = 0;
  private unread = 0;
  private last: number | null = null;

  /** `vkeys` are the witnesses who all have to have cosigned; with none, cosignatures are only counted. */
  constructor(private readonly vkeys: readonly string[]) {}

  /** Check who cosigned a checkpoint of this size, and remember the last that all cosigned. */
  async read(where: string, size: number, note: Json, signers: number): Promise<void> {
    const text = note as string;
    if (!this.vkeys.length) {
      this.unread += text.slice(text.lastIndexOf("\n\n") + 2).split("\n").length - 1 - signers;
      return;
    }
    let seen = 0;
    for (const vkey of this.vkeys) {
      try {
        seen += Number(await cosigned(text, vkey));
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        throw new Fault("cosignatures", where, error.message);
      }
    }
    this.count += seen;
    if (seen === this.vkeys.length) this.last = size;
  }

  /** Check that the witnesses saw what the pack ends with, or return from where on they did not. */
  check({ to, mode }: Manifest): string[] {
    if (!this.vkeys.length) return this.unread ? [`No witness was named: ${this.unread} cosignatures were not checked.`] : [];
    // Only in a pack of a range every checkpoint is one of the leaves.
    if (this.last === null || !(mode === "range" || this.last === to)) {
      throw new Fault("cosignatures", "checkpoints.ndjson", "no checkpoint has the cosignatures that you ask for");
    }
    return this.last < to ? [`Witnesses cosigned ${this.last} entries: that those from there to ${to} are the only ones is the log's word.`] : [];
  }
}
