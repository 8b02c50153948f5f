/** What this browser remembers: the choices in one first-party cookie, decisions not yet recorded beside it. */

import { settings } from "./page.ts";

/** 0 denied, or granted and not yet recorded; 1 granted; 2 granted although the browser sent a privacy signal. */
export type Choice = 0 | 1 | 2;

/** Purpose key to purpose version, choice and the day of the decision (days since 1970). */
export type Said = Record<string, [version: number, choice: Choice, day: number]>;

/** A decision on its way to the ledger: `id` is its idempotency key. */
export interface Waiting {
  id: string;
  body: { choices: Record<string, string>; gpc: boolean; [name: string]: unknown };
}

/** What `localStorage` keeps after the first choice: the anonymous subject's handle, and what waits. */
export interface Store {
  handle?: string;
  /** Until when (milliseconds) choices may change elsewhere: she opened the preference page. */
  elsewhere?: number;
  queue: Waiting[];
}

/** Days since 1970. */
export const dayOf = (time: number): number => (time / 864e5) | 0;

export const today = (): number => dayOf(Date.now());

export const decode = (value: string): Said => {
  const said: Said = {};
  for (const entry of value.split("~")) {
    const [key, ...numbers] = entry.split(":");
    // Digits count as numbers wherever they are used.
    if (numbers[2]) said[key!] = numbers as unknown as Said[string];
  }
  return said;
};

export const encode = (said: Said): string =>
  Object.entries(said)
    .map((entry) => entry.flat().join(":"))
    .join("~");

/** What the cookie says; nothing where there is none. */
export const readCookie = (): Said | null => {
  const found = document.cookie.match(/\beu-consent=([^;]*)/);
  return found && decode(found[1]!);
};

/** Yes and no are remembered equally long: as the longest of the choices counts, 180 days at most. */
export const writeCookie = (said: Said, days: number): void => {
  document.cookie =
    `eu-consent=${encode(said)};Path=/;SameSite=Lax;Max-Age=${days * 86400}` +
    (settings.domain ? ";Domain=" + settings.domain : "") +
    (location.protocol == "https:" ? ";Secure" : "");
};

let kept: Store = { queue: [] };

/** Fresh from `localStorage`, for another tab may have written; from this page's memory where storage is blocked. */
export const store = (): Store => {
  try {
    kept = JSON.parse(localStorage.consent);
  } catch {
    // Nothing was stored, or nothing can be.
  }
  return kept;
};

export const keep = (change: Partial<Store>): void => {
  kept = { ...store(), ...change };
  try {
    localStorage.consent = JSON.stringify(kept);
  } catch {
    // Storage is blocked: this page's memory has it.
  }
};
