/**
 * Optional: Google Consent Mode v2. A plain script before the Google tag, so that "denied" is said before any tag runs:
 * `<script src="…/static/consent-mode.js" data-region="FR,DE"></script>`. The notice says which purposes stand behind
 * which signal (`consent_mode`); a signal is granted when every purpose that names it is allowed.
 */

const { region } = (document.currentScript as HTMLScriptElement).dataset;
const scope = window as unknown as { dataLayer?: unknown[] };
const told: Record<string, string> = {};
for (const name of ["ad_storage", "ad_user_data", "ad_personalization", "analytics_storage", "functionality_storage", "personalization_storage"]) {
  told[name] = "denied";
}

/* The arguments object itself is pushed: tags ignore an array. */
function gtag(..._command: unknown[]): void {
  (scope.dataLayer ||= []).push(arguments);
}

gtag("consent", "default", {
  ...told,
  security_storage: "granted",
  wait_for_update: 500,
  ...(region && { region: region.split(",") }),
});

document.addEventListener("consentchange", (event) => {
  const choices = (event as CustomEvent<Record<string, boolean>>).detail;
  const inputs = [...document.querySelector("consent-banner")!.shadowRoot!.querySelectorAll<HTMLInputElement>("[data-mode]")];
  const changed: Record<string, string> = {};
  for (const name in told) {
    const naming = inputs.filter((input) => input.dataset.mode!.split(" ").includes(name));
    const state = naming[0] && naming.every((input) => choices[input.name]) ? "granted" : "denied";
    if (told[name] != state) changed[name] = told[name] = state;
  }
  if (Object.keys(changed)[0]) gtag("consent", "update", changed);
});

export {};
