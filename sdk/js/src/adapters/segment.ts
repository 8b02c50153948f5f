/**
 * Optional: writes every change to Segment (`analytics.track`) when it is on the page, and to `dataLayer`, as
 * `{event: "consent_changed", consent: {purpose: boolean}}`.
 */

const scope = window as unknown as {
  consent?: { choices(): Record<string, boolean>; ready: Promise<void> };
  analytics?: { track(name: string, properties: object): void };
  dataLayer?: unknown[];
};

let last = "";

const tell = (consent: Record<string, boolean>): void => {
  const now = JSON.stringify(consent);
  if (now == last) return;
  last = now;
  (scope.dataLayer ||= []).push({ event: "consent_changed", consent });
  // Segment itself is a recipient: it hears about a choice only when something was allowed.
  if (Object.values(consent).includes(true)) scope.analytics?.track("Consent Changed", { consent });
};

document.addEventListener("consentchange", (event) => tell((event as CustomEvent).detail));
// The banner may have been first.
void scope.consent?.ready.then(() => tell(scope.consent!.choices()));

export {};
