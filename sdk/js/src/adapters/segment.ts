/**
 * Optional: writes every change to Segment (`analytics.track`) when it is on the page, and to `dataLayer`, as
 * `{event: "consent_changed", consent: {purpose: boolean}}`.
 */

const scope = window as unknown as {
  analytics?: { track(name: string, properties: object): void };
  dataLayer?: unknown[];
};

document.addEventListener("consentchange", (event) => {
  const consent = (event as CustomEvent<Record<string, boolean>>).detail;
  (scope.dataLayer ||= []).push({ event: "consent_changed", consent });
  // Segment itself is a recipient: it hears about a choice only when something was allowed.
  if (Object.values(consent).includes(true)) scope.analytics?.track("Consent Changed", { consent });
});

export {};
