/** A whole pack verified, and what there is to say about it. */
import type { Source } from "./container.ts";
import { type Progress, Verification } from "./pack.ts";

export interface Verified {
  origin: string;
  vkey: string;
  keyPinned: boolean;
  from: number;
  size: number;
  root: string;
  madeAt: string;
  checked: Record<string, number>;
  remarks: string[];
}

export interface Options {
  vkey?: string | null;
  previous?: Source | null;
  witnesses?: readonly string[];
  progress?: Progress;
}

/** Return what was verified; throw a `Fault` at the first thing that does not hold. */
export async function verifyPack(
  source: Source,
  { vkey = null, previous = null, witnesses = [], progress = () => undefined }: Options = {},
): Promise<Verified> {
  const run = await Verification.of(source, vkey, progress, witnesses);
  const older = previous && (await Verification.of(previous, null, () => undefined)).manifest;
  await run.run();
  if (older) await run.continues(older);
  const { origin, keys, from, to, root, made_at } = run.manifest;
  const checked = witnesses.length ? { ...run.counts, cosignatures: run.cosignatures } : run.counts;
  if (!vkey) run.remarks.unshift("No key was given: the pack agrees with itself, but anybody could have made it.");
  return { origin, vkey: keys.at(-1)!, keyPinned: !!vkey, from, size: to, root, madeAt: made_at, checked, remarks: run.remarks };
}
