/** (8) What consent means: the status and validity that follow from the records before. */
import { Refused, refuse } from "./bytes.ts";
import type { Choices } from "./record.ts";

/** What is known of one purpose of one subject. Moments are RFC 3339 texts of one form, which compare like moments. */
export interface Standing {
  status: string;
  version: number;
  recorded: string;
  decided: string;
  until: string;
}

export type Standings = ReadonlyMap<string, Standing>;
/** What a decision is about: purpose, granted or denied, purpose version, validity. */
export type Plan = readonly { purpose: string; choice: string; version: number; validity: string }[];

export const UNFOUNDED = "a derived status does not follow from the entries before";
const [GRANTING, CLOSED] = [new Set(["given", "renewed"]), new Set(["refused", "withdrawn"])];
const granting = (standing: Standing | undefined): boolean => standing !== undefined && GRANTING.has(standing.status);
const earlier = (left: string, right: string): string => (right < left ? right : left);
const DURATION = /^P(?=\d|T\d)(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?=\d)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?$/;
const DAY = 86_400_000;
const FIRST = new Date(0).setUTCFullYear(1, 0, 1);
const LAST = Date.UTC(9999, 11, 31) + DAY;
const ends = new Map<string, string>();

/** Return the milliseconds since 1970 of a moment; refuse one that no calendar or clock has. */
export function millis(moment: string): number {
  const [year, month, day, hour, minute, second, milli] = moment.match(/\d+/g)!.map(Number) as [number, number, number, number, number, number, number];
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  if (year < 1 || date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day) refuse("not a date");
  if (hour > 23 || minute > 59 || second > 59) refuse("not a time of day");
  return date.getTime() + ((hour * 60 + minute) * 60 + second) * 1000 + milli;
}

/** Return the moment an ISO 8601 duration later: months first, the day clipped to the month's last. */
export function after(moment: string, duration: string): string {
  const known = ends.get(moment + duration);
  if (known) return known;
  const parts = DURATION.exec(duration)?.slice(1).map((part) => Number(part ?? 0)) ?? refuse("not a duration");
  const [years, months, weeks, days, hours, minutes, seconds] = parts as [number, number, number, number, number, number, number];
  const rest = ((hours * 60 + minutes) * 60 + seconds) * 1000;
  const clock = rest ? millis(moment) : millis(`${moment.slice(0, 10)}T00:00:00.000Z`);
  const start = new Date(clock - (clock % DAY) - (clock % DAY < 0 ? DAY : 0));
  const month = start.getUTCMonth() + years * 12 + months;
  const [year, within] = [start.getUTCFullYear() + Math.floor(month / 12), month % 12];
  if (year > 9999) refuse("beyond the last year");
  const last = new Date(0);
  last.setUTCFullYear(year, within + 1, 0);
  const end = new Date(0);
  end.setUTCFullYear(year, within, Math.min(start.getUTCDate(), last.getUTCDate()));
  const total = end.getTime() + (weeks * 7 + days) * DAY;
  const later = total + rest + (clock - start.getTime());
  if (!(later < LAST && total >= FIRST)) throw new RangeError("beyond the last year");
  const result = rest
    ? new Date(later).toISOString()
    : new Date(total).toISOString().slice(0, 10) + moment.slice(10);
  if (ends.size > 100_000) ends.clear();
  ends.set(moment + duration, result);
  return result;
}

/** Return all standings after a decision, and how its record has to spell the outcomes.
 *
 * Granted becomes given or renewed, denied refused or withdrawn, by what it meets. A grant decided before a denial on
 * record arrived late, and changes nothing, nor does one of an earlier version than was granted. */
export function decide(plan: Plan, known: Standings, decided: string, recorded: string): [Standings, string] {
  const start = earlier(decided, recorded);
  const standings = new Map(known);
  const texts = [];
  for (const { purpose, choice, version, validity } of plan) {
    const before = known.get(purpose);
    let status = "refused";
    if (choice === "granted") status = granting(before) ? "renewed" : "given";
    else if (before && granting(before) && before.version === version && recorded < before.until) status = "withdrawn";
    const kept = before && choice === "granted" && (granting(before) ? version < before.version : decided < earlier(before.recorded, before.decided));
    const standing = kept ? before : { status, version, recorded, decided, until: after(start, validity) };
    standings.set(purpose, standing);
    texts.push(spelled(purpose, standing));
  }
  return [standings, texts.join(",")];
}

/** Return what is known of a subject after a decision, where her past is known of some purposes only.
 *
 * `newest` gives the last version of a purpose. Refuses outcomes that no past leads to. */
export function statedAfter(plan: Plan, known: Standings, [decided, recorded]: [string, string], outcomes: string, newest: (purpose: string) => number): Standings {
  const stated = new Map([...outcomes.matchAll(/"([^"]+)":\{"status":"([a-z]+)","valid_until":"([^"]+)"\}/g)].map(([, purpose, status, until]) => [purpose!, { status: status!, until: until! }]));
  const texts = [...stated].map(([purpose, outcome]) => spelled(purpose, outcome));
  const same = stated.size === plan.length && plan.every(({ purpose }, at) => purpose === [...stated.keys()][at]);
  if (!same || texts.join(",") !== outcomes) throw new Refused(UNFOUNDED);
  const learnt = new Map(known);
  for (const row of plan) {
    const { purpose, choice, version } = row;
    const { status, until } = stated.get(purpose)!;
    let expected = decide([row], known, decided, recorded)[0].get(purpose)!;
    if (!known.has(purpose)) {
      // What stood before may have been left as it was.
      if (choice === "granted" && (CLOSED.has(status) || (GRANTING.has(status) && version < newest(purpose)))) continue;
      if ((choice === "granted" ? GRANTING : CLOSED).has(status)) expected = { ...expected, status };
    }
    if (status !== expected.status || until !== expected.until) throw new Refused(UNFOUNDED);
    learnt.set(purpose, expected);
  }
  return learnt;
}

/** Return the known subject's standings after a link, the most protective of both: nothing widens. */
export function linked(known: Standings, anonymous: Standings, recorded: string): Standings {
  const result = new Map(known);
  for (const [purpose, theirs] of anonymous) {
    const ours = result.get(purpose);
    if (!granting(theirs)) {
      if (!ours || granting(ours)) result.set(purpose, { ...theirs, status: ours ? "withdrawn" : "refused", recorded });
    } else if (ours && granting(ours) && theirs.until < ours.until) {
      result.set(purpose, { ...ours, recorded, until: theirs.until });
    }
  }
  return result;
}

/** Return how a record spells these standings. */
export function spelledAll(standings: Standings): string {
  const purposes = [...standings.keys()].sort();
  return purposes.map((purpose) => spelled(purpose, standings.get(purpose)!)).join(",");
}

const spelled = (purpose: string, { status, until }: Pick<Standing, "status" | "until">): string => `"${purpose}":{"status":"${status}","valid_until":"${until}"}`;

/** Return what a decision under a notice is about; refuse choices that the notice does not offer. */
export function planOf(notice: unknown, choices: Choices): Plan {
  const purposes = own(notice, "purposes");
  return choices.map(([purpose, choice]) => {
    const terms = own(purposes, purpose);
    return { purpose, choice, version: own(terms, "version") as number, validity: own(terms, "validity") as string };
  });
}

function own(value: unknown, name: string): unknown {
  if (value === null || typeof value !== "object" || Array.isArray(value)) throw new TypeError("not an object");
  if (!Object.hasOwn(value, name)) throw new Refused(`lacks ${name}`);
  return (value as Record<string, unknown>)[name];
}
