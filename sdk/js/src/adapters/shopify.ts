/**
 * Optional: tells Shopify's Customer Privacy API what was chosen, as booleans.
 * `<script src="…/static/shopify.js" data-analytics="…" data-marketing="…" data-preferences="…" data-sale="…" defer>` names
 * the purposes (comma-separated) that stand behind each of Shopify's four; one that names none stays false.
 */

interface Shopify {
  loadFeatures(features: { name: string; version: string }[], done: (error?: unknown) => void): void;
  customerPrivacy: { setTrackingConsent(consent: Record<string, boolean>, done: () => void): void };
}

const names = (document.currentScript as HTMLScriptElement).dataset;
const scope = window as unknown as { Shopify?: Shopify; consent: { choices(): Record<string, boolean>; ready: Promise<void> } };

const tell = (): void => {
  const choices = scope.consent.choices();
  const every = (list?: string): boolean => !!list && list.split(",").every((key) => choices[key] === true);
  scope.Shopify!.customerPrivacy.setTrackingConsent(
    {
      analytics: every(names.analytics),
      marketing: every(names.marketing),
      preferences: every(names.preferences),
      sale_of_data: every(names.sale),
    },
    () => {},
  );
};

scope.Shopify?.loadFeatures([{ name: "consent-tracking-api", version: "0.1" }], (error) => {
  if (error) return;
  document.addEventListener("consentchange", tell);
  void scope.consent.ready.then(tell);
});

export {};
