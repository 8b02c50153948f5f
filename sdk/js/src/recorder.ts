/** Brings decisions to the ledger: in order, each once, again later when the service is away. */

import { keep, store, type Waiting } from "./memory.ts";
import { base, settings } from "./page.ts";

/** How the service tells where a subject stands, by purpose. */
export type Consents = Record<string, { status: string; purpose_version?: number; since?: string; gpc?: boolean } | undefined>;

/** What the ledger answers: the entry's index, and the status of each purpose decided. */
export interface Recorded {
  index: number;
  type?: string;
  consents?: Consents;
}

/** A page that declares a signed-in customer, for `account.js`, works for her from the start. */
export let account = document.querySelector<HTMLElement>("script[src*=account][data-token]")?.dataset.token;
let token = account;
let sending = false;
let delay = 1e3;
let unsaved: Waiting[] = [];

/** Work for a signed-in customer from now on; with nothing, for this browser again. */
export const use = (next?: string): void => {
  account = token = next;
  unsaved = [];
};

/** An account's decisions wait in this page only, so that nothing of it stays on the device. */
export const waiting = (): Waiting[] => (account ? unsaved : store().queue);

const wait = (queue: Waiting[]): void => {
  if (account) unsaved = queue;
  else keep({ queue });
};

export const enqueue = (item: Waiting): void => wait([...waiting(), item]);

const call = (path: string, bearer: string, body?: object, id = ""): Promise<Response> =>
  fetch(base + "/v1/" + path, {
    method: (body && "POST")!,
    headers: { authorization: "Bearer " + bearer, "content-type": "application/json", "idempotency-key": id },
    body: JSON.stringify(body),
    keepalive: true,
  });

/** A subject token: the account's, or that of the anonymous subject, who exists from this call on. */
export const subjectToken = async (): Promise<string> => {
  if (!token) {
    const { handle } = store();
    const answer = await (await call("subject/anonymous", settings.key!, { handle })).json();
    keep({ handle: answer.handle });
    token = answer.token;
  }
  return token!;
};

/**
 * Send what waits, oldest first. `heard` is told what the service answered: `consents`, or a problem when it will
 * never take the decision. Anything else (no network, 5xx, garbage, an expired token) leaves it waiting and comes back later.
 */
export const send = async (heard: (item: Waiting, answer: Recorded) => void): Promise<void> => {
  if (sending) return;
  sending = true;
  try {
    for (let item; (item = waiting()[0]); delay = 1e3) {
      const response = await call("decisions", await subjectToken(), item.body, item.id);
      if (response.status == 401) token = account;
      const answer: Recorded = await response.json();
      if (/clock/.test(answer.type!) && item.body.decided_at) {
        // Her clock is wrong: the service's own time will do.
        item.body.decided_at = undefined;
        wait([item, ...waiting().slice(1)]);
        continue;
      }
      if (!answer.consents && !/4(00|09|22)/.test(response.status as unknown as string)) throw 0;
      wait(waiting().filter(({ id }) => id != item.id));
      heard(item, answer);
    }
  } catch {
    setTimeout(send, (delay = Math.min(delay * 2, 6e4)), heard);
  }
  sending = false;
};

/** What the ledger says about every purpose now. */
export const standing = async (): Promise<Consents> => (await (await call("consents", await subjectToken())).json()).consents;
