/** What the optional scripts share: the service's address, the banner's shadow root, the interface's own words. */

export const script = document.currentScript as HTMLScriptElement;

/** The service's address: `data-service`, or where the script came from. */
export const service = script.dataset.service || script.src.replace(/\/(static\/)?[^/]*$/, "");

/** What `window.consent` gives an optional script. */
export interface Consent {
  ready: Promise<void>;
  open(): void;
  choices(): Record<string, boolean>;
  say(text?: string): void;
  use(token?: string): Promise<void>;
}

export const consent = (): Consent | undefined => (window as unknown as { consent?: Consent }).consent;

export const shadow = (): ShadowRoot => document.querySelector("consent-banner")!.shadowRoot!;

let asked: { language: string; words: Promise<Record<string, string>> } | undefined;

/** The interface's words in the banner's language. */
export const words = (): Promise<Record<string, string>> => {
  const language = shadow().querySelector("section")!.lang;
  if (asked?.language != language) {
    asked = { language, words: fetch(`${service}/v1/words?language=${language}`).then((answer) => answer.json()) };
    asked.words.catch(() => (asked = undefined));
  }
  return asked!.words;
};
