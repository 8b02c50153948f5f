/**
 * Optional: Google Consent Mode v2. A plain script before the Google tag, so that "denied" is said before any tag runs:
 * `<script src="…/static/consent-mode.js" data-region="FR,DE" data-wait="500"></script>`. The notice says which purposes
 * stand behind which signal (`consent_mode`); a signal is granted when every purpose that names it is allowed.
 */

const { region, wait } = (document.currentScript as HTMLScriptElement).dataset;
const scope = window as unknown as { dataLayer?: unknown[] };
const told: Record<string, string> = {};
/* In the order in which the layout counts them (`data-mode`). */
const names = ["ad_storage", "ad_user_data", "ad_personalization", "analytics_storage", "functionality_storage", "personalization_storage", "security_storage"];
for (const name of names) told[name] = "denied";
// Keeping a site safe is no personalization; a purpose that names it all the same decides about it.
told.security_storage = "granted";

/* The arguments object itself is pushed: tags ignore an array. */
function gtag(..._command: unknown[]): void {
  (scope.dataLayer ||= []).push(arguments);
}

gtag("consent", "default", {
  ...told,
  wait_for_update: +(wait || 500),
  ...(region && { region: region.split(/[\s,]+/) }),
});

document.addEventListener("consentchange", (event) => {
  const choices = (event as CustomEvent<Record<string, boolean>>).detail;
  const inputs = [...document.querySelector("consent-banner")!.shadowRoot!.querySelectorAll<HTMLInputElement>("[data-mode]")];
  const changed: Record<string, string> = {};
  for (const [place, name] of names.entries()) {
    const naming = inputs.filter((input) => input.dataset.mode!.includes("" + place));
    if (!naming[0] && name == "security_storage") continue;
    const state = naming[0] && naming.every((input) => choices[input.name]) ? "granted" : "denied";
    if (told[name] != state) changed[name] = told[name] = state;
  }
  if (Object.keys(changed)[0]) gtag("consent", "update", changed);
});

export {};
