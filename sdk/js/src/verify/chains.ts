/** (7) and (8) The chains of subjects' entries: nothing is missing from them, and every status follows. */
import { Fault, type Json, type Members, Refused } from "./bytes.ts";
import type { Entry } from "./entries.ts";
import { type Record_, parseChoices } from "./record.ts";
import { type Plan, type Standings, UNFOUNDED, decide, linked, planOf, spelledAll, statedAfter } from "./standing.ts";

interface Chain {
  last: string;
  /** Null where the beginning is not in the pack. */
  standings: Standings | null;
  /** What is known of some purposes where the beginning is not. */
  partly: Standings;
}

export class Chains {
  readonly published = new Set<string>();
  subjects = 0;
  statuses = 0;
  private last = new Map<string, Chain>();
  private readonly plans = new Map<string, Plan>();
  private readonly versions = new Map<string, number>();

  constructor(
    private readonly from: number,
    private readonly notices: ReadonlyMap<string, Json>,
  ) {}

  /** Begin another part of the subjects. */
  forget(): void {
    this.last = new Map();
  }

  /** Take steps (7) and (8) for one entry; `own`: it counts, and is not only beside a link. */
  follow({ index, kind, committed }: Entry, record: Record_, own: boolean): void {
    const [subject, prev] = [record["subject"]!, record["prev"]!];
    const before = this.last.get(subject);
    if (!before) {
      if (prev !== "null" && this.from === 0) throw new Fault("chains", "prev", "an earlier entry of this subject is missing", index);
      if (own) this.subjects++;
    } else if (prev.slice(1, -1) !== before.last) {
      throw new Fault("chains", "prev", "the chain of this subject's entries is broken", index);
    }
    let standings: Standings | null = null;
    let partly: Standings = new Map();
    try {
      const known = before ? before.standings : prev === "null" ? new Map() : null;
      if (known) standings = kind === "link" ? this.linked(record, known) : this.decided(record, known);
      else if (kind !== "link") partly = this.stated(record, before?.partly ?? partly);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      throw new Fault("statuses", "record", error.message, index);
    }
    if (own && standings) this.statuses++;
    this.last.set(subject, { last: committed, standings, partly });
  }

  private linked(record: Record_, known: Standings): Standings | null {
    const theirs = this.last.get(record["linked"]!);
    if (!theirs?.standings) {
      if (this.from === 0) throw new Refused("a link leads to no subject");
      return null;
    }
    const standings = linked(known, theirs.standings, record["recorded_at"]!);
    if (spelledAll(standings) !== record["consents"]) throw new Refused(UNFOUNDED);
    return standings;
  }

  private stated(record: Record_, known: Standings): Standings {
    const { notice, choices, decided_at: decided, recorded_at: recorded, consents } = record as Record<string, string>;
    return statedAfter(this.planFor(notice!, choices!), known, [decided!, recorded!], consents!, (purpose) => this.newest(purpose));
  }

  /** Return the last version of a purpose that a notice in the pack has. */
  private newest(purpose: string): number {
    const known = this.versions.get(purpose);
    if (known !== undefined) return known;
    const offers = [...this.notices.values()].map((words) => ((words as Members)["purposes"] as Members)[purpose] as Members | undefined);
    const newest = Math.max(...offers.map((offer) => (offer ? (offer["version"] as number) : -Infinity)));
    this.versions.set(purpose, newest);
    return newest;
  }

  private decided(record: Record_, known: Standings): Standings {
    const { notice, choices, decided_at: decided, recorded_at: recorded } = record as Record<string, string>;
    const [standings, expected] = decide(this.planFor(notice!, choices!), known, decided!, recorded!);
    if (expected !== record["consents"]) throw new Refused(UNFOUNDED);
    return standings;
  }

  private planFor(notice: string, choices: string): Plan {
    const key = notice + choices;
    return this.plans.get(key) ?? this.plan(notice, choices, key);
  }

  private plan(notice: string, choices: string, key: string): Plan {
    if (this.from === 0 && !this.published.has(notice)) throw new Refused("decided under a notice that was not published yet");
    if (!this.notices.has(notice)) throw new Refused("the words of this notice are missing");
    const plan = planOf(this.notices.get(notice), parseChoices(choices)!);
    if (this.plans.size < 10_000) this.plans.set(key, plan);
    return plan;
  }
}
