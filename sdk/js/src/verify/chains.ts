/** (7) and (8) The chains of subjects' entries: nothing is missing from them, and every status follows. */
import { Fault, type Json, Refused } from "./bytes.ts";
import type { Entry } from "./entries.ts";
import { type Record_, parseChoices } from "./record.ts";
import { type Plan, type Standings, decide, linked, planOf, spelledAll } from "./standing.ts";

interface Chain {
  last: string;
  /** Null where the beginning is not in the pack. */
  standings: Standings | null;
}

export class Chains {
  readonly published = new Set<string>();
  subjects = 0;
  statuses = 0;
  private last = new Map<string, Chain>();
  private readonly plans = new Map<string, Plan>();

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
    try {
      const known = before ? before.standings : prev === "null" ? new Map() : null;
      if (known) standings = kind === "link" ? this.linked(record, known) : this.decided(record, known);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      throw new Fault("statuses", "record", error.message, index);
    }
    if (own && standings) this.statuses++;
    this.last.set(subject, { last: committed, standings });
  }

  private linked(record: Record_, known: Standings): Standings | null {
    const theirs = this.last.get(record["linked"]!);
    if (!theirs?.standings) {
      if (this.from === 0) throw new Refused("a link leads to no subject");
      return null;
    }
    const standings = linked(known, theirs.standings, record["recorded_at"]!);
    if (spelledAll(standings) !== record["consents"]) throw new Refused("a derived status does not follow from the entries before");
    return standings;
  }

  private decided(record: Record_, known: Standings): Standings {
    const { notice, choices, decided_at: decided, recorded_at: recorded } = record as Record<string, string>;
    const key = notice! + choices!;
    const plan = this.plans.get(key) ?? this.plan(notice!, choices!, key);
    const [standings, expected] = decide(plan, known, decided!, recorded!);
    if (expected !== record["consents"]) throw new Refused("a derived status does not follow from the entries before");
    return standings;
  }

  private plan(notice: string, choices: string, key: string): Plan {
    if (this.from === 0 && !this.published.has(notice)) throw new Refused("decided under a notice that was not published yet");
    if (!this.notices.has(notice)) throw new Refused("the words of this notice are missing");
    const plan = planOf(this.notices.get(notice), parseChoices(choices)!);
    if (this.plans.size < 10_000) this.plans.set(key, plan);
    return plan;
  }
}
