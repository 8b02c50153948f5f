/**
 * Optional: choices of a signed-in customer, the same on every device. The page carries a subject token from the shop's
 * backend (`POST /v1/subject/token`): `<script src="…/static/account.js" data-token="…" defer>` after the banner, or
 * `consent.identify(token)`. Nothing of the account is written on the device but, for this session, that it was told.
 */

import { consent, script, service, shadow, words, type Consent } from "./addon.ts";

type Known = NonNullable<Parameters<Consent["use"]>[1]>;

const OPEN = /given|renewed/;
let signedIn = false;

const known = async (token: string): Promise<Known> => {
  const answer = await fetch(service + "/v1/consents", { headers: { authorization: "Bearer " + token } });
  const { consents } = await answer.json();
  const found: Known = {};
  for (const key in consents) {
    const { status, purpose_version, since } = consents[key];
    if (OPEN.test(status) || /refused|withdrawn/.test(status)) {
      found[key] = [purpose_version, OPEN.test(status) ? 2 : 0, Math.floor(Date.parse(since) / 864e5)];
    }
  }
  return found;
};

/** Say on the first layer how far the choice reaches. */
const reach = async (): Promise<void> => {
  const list = shadow().querySelector("section ul");
  if (!signedIn || !list || shadow().querySelector("[data-reach]")) return;
  const note = document.createElement("p");
  note.dataset.reach = "";
  list.after(note);
  note.textContent = (await words()).account!;
};

const identify = async (token?: string | null): Promise<void> => {
  await consent().ready;
  signedIn = !!token;
  if (!token) {
    shadow().querySelector("[data-reach]")?.remove();
    return consent().use();
  }
  const choices = await known(token);
  consent().use(token, choices);
  await reach();
  if (Object.keys(choices)[0] && !sessionStorage.consent) {
    sessionStorage.consent = "told";
    consent().say((await words()).confirmed);
  }
};

document.addEventListener("consentchange", () => void reach());
Object.assign(consent(), { identify });
if (script.dataset.token) void identify(script.dataset.token);
