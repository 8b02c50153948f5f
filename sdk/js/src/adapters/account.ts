/**
 * Optional: choices of a signed-in customer, the same on every device. The page carries a subject token from the shop's
 * backend (`POST /v1/subject/token`): `<script src="…/static/account.js" data-token="…" defer>` after the banner, which
 * finds the token there and waits for this script, or `consent.identify(token)`. Nothing of the account is written on the
 * device but, for this session, that it was told.
 */

import { consent, script, shadow, words } from "./addon.ts";

let signedIn = false;

/** Until the account's choices are known nobody is asked what she may have answered on another device. */
const held = new CSSStyleSheet();
held.replaceSync("section { visibility: hidden }");

/** Say on the first layer how far the choice reaches. */
const reach = async (): Promise<void> => {
  if (!signedIn) return;
  const { account } = await words();
  const list = shadow().querySelector("section ul");
  if (!signedIn || !list || shadow().querySelector("[data-reach]")) return;
  list.after(Object.assign(document.createElement("p"), { textContent: account }));
  (list.nextSibling as HTMLElement).dataset.reach = "";
};

const identify = async (token?: string | null): Promise<void> => {
  const sheets = document.querySelector("consent-banner")?.shadowRoot?.adoptedStyleSheets;
  if (token && sheets) sheets.push(held);
  await consent()!.ready;
  if (!document.querySelector("consent-banner")) return;
  signedIn = !!token;
  if (!token) {
    shadow().querySelector("[data-reach]")?.remove();
    return consent()!.use();
  }
  const late = new Promise<void>((pass) => setTimeout(pass, 3e3));
  await Promise.race([consent()!.use(token), late]).catch(() => {});
  await reach().catch(() => {});
  if (sheets?.includes(held)) sheets.splice(sheets.indexOf(held), 1);
  if (shadow().querySelector<HTMLElement>("section")!.hidden && !sessionStorage.consent) {
    sessionStorage.consent = "told";
    consent()!.say((await words()).confirmed);
  }
  document.dispatchEvent(new CustomEvent("consentaccount"));
};

document.addEventListener("consentchange", () => reach().catch(() => {}));
Object.assign(consent()!, { identify });
if (script.dataset.token) void identify(script.dataset.token);
