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
  certificates?: readonly string[];
  progress?: Progress;
}

/** Return what was verified; throw a `Fault` at the first thing that does not hold. */
export async function verifyPack(
  source: Source,
  { vkey = null, previous = null, witnesses = [], certificates = [], progress = () => undefined }: Options = {},
): Promise<Verified> {
  const run = await Verification.of(source, vkey, progress, witnesses);
  const older = previous && (await Verification.of(previous, null, () => undefined)).manifest;
  await run.run();
  if (older) await run.continues(older);
  for (const certificate of certificates) await run.checkCertificate(certificate);
  const { origin, keys, from, to, root, made_at } = run.manifest;
  const checked: Record<string, number> = { ...run.counts };
  if (witnesses.length) checked["cosignatures"] = run.cosignatures;
  if (certificates.length) checked["certificates"] = certificates.length;
  if (!vkey) run.remarks.unshift("No key was given: the pack agrees with itself, but anybody could have made it.");
  return { origin, vkey: keys.at(-1)!, keyPinned: !!vkey, from, size: to, root, madeAt: made_at, checked, remarks: run.remarks };
}
