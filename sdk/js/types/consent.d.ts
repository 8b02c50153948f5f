/** What the banner puts on `window`, and the event it sends on `document`. */

export interface ConsentApi {
  /** Settles once the banner knows what counts, and also when it could not be loaded: then nothing is allowed. */
  readonly ready: Promise<void>;
  /** Whether a purpose may be used now. No answer means no. */
  allows(purpose: string): boolean;
  /** Every purpose of the notice and whether it may be used now. */
  choices(): Record<string, boolean>;
  /** Open the dialog. */
  open(): void;
  /** Look again for scripts that wait for a purpose, after the page added some. */
  apply(): void;
  /** Hear every change from now on; the same as the `consentchange` event on `document`. */
  onChange(listener: (choices: Record<string, boolean>) => void): void;
  /** A short-lived subject token of this browser's anonymous subject or of the signed-in customer. */
  token(): Promise<string>;
  /** Only with `account.js`: work for a signed-in customer, or with nothing for this browser again. */
  identify?(token?: string | null): Promise<void>;
}

declare global {
  interface Window {
    readonly consent: ConsentApi;
  }
  interface DocumentEventMap {
    consentchange: CustomEvent<Record<string, boolean>>;
  }
}
