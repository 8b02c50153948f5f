/**
 * Optional: choices of a signed-in customer, the same on every device. The page carries a subject token from the shop's
 * backend (`POST /v1/subject/token`): `<script src="…/static/account.js" data-token="…" defer>` after the banner, or
 * `consent.identify(token)`. Nothing of the account is written on the device but, for this session, that it was told.
 */

import { consent, script, shadow, words } from "./addon.ts";

let signedIn = false;

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
  await consent().use(token);
  await reach();
  if (shadow().querySelector<HTMLElement>("section")!.hidden && !sessionStorage.consent) {
    sessionStorage.consent = "told";
    consent().say((await words()).confirmed);
  }
  document.dispatchEvent(new CustomEvent("consentaccount"));
};

document.addEventListener("consentchange", () => void reach());
Object.assign(consent(), { identify });
if (script.dataset.token) void identify(script.dataset.token);
