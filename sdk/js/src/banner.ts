/** The banner: one script that asks, remembers, obeys and records. See docs/reference/browser-api.md. */

import css from "./style.css";
import { dayOf, keep, readCookie, store, today, writeCookie, type Choice, type Said, type Waiting } from "./memory.ts";
import { base, layOut, settings } from "./page.ts";
import { honest } from "./parity.ts";
import { account, enqueue, send, standing, subjectToken, use, waiting, type Recorded } from "./recorder.ts";

/** A page may bring the element, laid out on the server: then it is wired where it stands. */
const host = document.querySelector<HTMLElement>("consent-banner") || document.createElement("consent-banner");
const root = host.shadowRoot || host.attachShadow({ mode: "open" });
const sheet = new CSSStyleSheet();
let said: Said = {};
let tabs: BroadcastChannel | undefined;
/** Nobody is asked what she may have answered on another device before the ledger was. */
let held: unknown = account;
let section: HTMLElement;
let dialog: HTMLDialogElement;
let corner: HTMLElement;
let status: HTMLElement;
/** One switch a purpose; its attributes say what the notice says about it. */
let inputs: HTMLInputElement[] = [];

/** What was said about a purpose and still counts: under its version, within its validity. */
const live = ({ name, dataset }: HTMLInputElement): Choice | undefined => {
  const [version, choice, day] = said[name] || [];
  return version == dataset.v && today() - day! < +dataset.days! ? choice : undefined;
};

/** Global Privacy Control, as the W3C text names it. */
const gpc = (): boolean => !!(navigator as Navigator & { globalPrivacyControl?: boolean }).globalPrivacyControl;

/** Whether the browser's privacy signal refuses a purpose. */
const opposed = ({ dataset }: HTMLInputElement): boolean => gpc() && !!dataset.gpc;

/** No answer means no. A privacy signal of the browser closes what was not allowed in its presence. */
const open = (input: HTMLInputElement): boolean => live(input)! > (opposed(input) as unknown as number);

const choices = (): Record<string, boolean> => Object.fromEntries(inputs.map((input) => [input.name, open(input)]));

const allows = (key: string): boolean => choices()[key] === true;

/** As she last said it, recorded or not yet. What waits has its entry in the cookie: who was never asked is spared a look into storage. */
const answer = (input: HTMLInputElement): boolean | undefined => {
  const item = said[input.name] && waiting().findLast((waits) => waits.body.choices[input.name]);
  return item ? item.body.choices[input.name] == "granted" : live(input) == null ? undefined : open(input);
};

/** A script of the page that waits for a purpose; `ran` once it was put in. */
type Gated = HTMLScriptElement & { ran?: boolean };

/** Make page and view follow what counts now. */
const apply = (): void => {
  let stale: unknown;
  for (const script of document.querySelectorAll<Gated>("script[data-purpose]")) {
    if (!allows(script.dataset.purpose!)) stale ||= script.ran;
    else if (script.type == "text/plain") {
      // The same element is put in again: what the parser trusted stays trusted.
      script.type = script.dataset.type || "";
      script.after(script);
      script.ran = true;
    }
  }
  const asked = inputs.filter((input) => answer(input) == null);
  const inside = section.contains(root.activeElement);
  section.hidden = (held || !asked[0]) as boolean;
  // What is no yes or no counts as one where an element is hidden.
  corner.hidden = (held || asked[0] || document.querySelector("[data-consent-open]")) as boolean;
  if (inside && !asked[0]) corner.focus();
  section.querySelectorAll("li").forEach((item, i) => (item.hidden = !asked.includes(inputs[i]!)));
  document.dispatchEvent(new CustomEvent("consentchange", { detail: choices() }));
  // A script cannot be taken back: after a withdrawal the page starts anew, without it.
  if (stale) location.reload();
};

const show = (): void => {
  const dates = new Intl.DateTimeFormat(host.lang, { dateStyle: "medium" });
  root.querySelectorAll("small").forEach((when, i) => {
    const input = inputs[i]!;
    input.checked = !!answer(input);
    const start = live(input) == null ? 0 : said[input.name]![2] * 864e5;
    when.textContent = start
      ? `${dialog.dataset.since} ${dates.formatRange(start, start + (input.dataset.days as unknown as number) * 864e5)}`
      : "";
  });
  if (!dialog.open) dialog.showModal();
};

const say = (text?: string): void => {
  status.textContent = text || "";
  if (text) setTimeout(say, 6e3);
};

const remember = (): void => {
  if (account) return;
  writeCookie(said, Math.max(...inputs.map((input) => input.dataset.days as unknown as number)));
  tabs?.postMessage(said);
};

/** Obey at once: a no closes now, a yes opens when the ledger has it. */
const decide = (wanted: (input: HTMLInputElement) => boolean, method: string): void => {
  const source = dialog.open ? "dialog" : "banner";
  const made: Record<string, string> = {};
  for (const input of inputs) {
    if (!dialog.open && answer(input) != null) continue;
    const yes = wanted(input);
    made[input.name] = yes ? "granted" : "denied";
    if (!yes || !open(input)) said[input.name] = [+input.dataset.v!, 0, today()];
  }
  enqueue({
    id: today() + "-" + Math.random(),
    body: {
      notice: section.dataset.notice,
      choices: made,
      method,
      source,
      language: host.lang,
      gpc: gpc(),
      decided_at: new Date(),
    },
  });
  dialog.close();
  remember();
  apply();
  send(heard).then(() => say(status.dataset[waiting()[0] ? "waiting" : "saved"]));
};

const choice = (status: string, signal?: boolean): Choice => ((+/given|renewed/.test(status) << (signal as unknown as number)) as Choice);

const heard = async (item: Waiting, { consents }: Recorded): Promise<void> => {
  for (const key in item.body.choices) {
    // Never to be taken (a notice replaced meanwhile): she is asked again.
    if (!consents) delete said[key];
    else if (said[key] && !waiting().some((later) => later.body.choices[key])) {
      said[key]![1] = choice(consents[key]!.status, item.body.gpc);
    }
  }
  remember();
  if (consents) apply();
  else await speak(host.lang + "&at=" + Date.now());
};

/** Laid out and not painted yet: nothing is measured twice, and it goes on with every change of the banner's size. */
const fit = (): void => {
  // A theme that fails is not used: without its tokens every colour is our own.
  if (!section.hidden && !honest([...section.querySelectorAll("button")])) sheet.replaceSync(css.replaceAll("--consent", "---"));
  // Room at the page's end, so that none of its focus stops ends under the banner.
  const { style } = document.documentElement;
  style.scrollPaddingBottom = style.paddingBottom = section.hidden ? "" : section.offsetHeight + 32 + "px";
};

const release = (): void => {
  held = false;
  apply();
};

/** Take over what the ledger says: it knows what was chosen elsewhere, on another device or on the preference page. */
const follow = async (): Promise<void> => {
  try {
    const consents = await standing();
    for (const { name } of inputs) {
      const { status, purpose_version, since, gpc } = consents[name]!;
      if (!since || status == "expired") delete said[name];
      else said[name] = [purpose_version!, choice(status, gpc), dayOf(Date.parse(since))];
    }
    remember();
  } finally {
    // Where the ledger does not say what she chose, nothing is allowed, and she can still choose.
    release();
  }
};

/** Read again what is remembered: at the start, from the back-forward cache. */
const recall = (): void => {
  const read = account || !navigator.cookieEnabled ? said : readCookie();
  said = read || {};
  apply();
  // Storage begins with the first choice, as the cookie does: who has none is spared a look, which waits for the browser's disk.
  if (read)
    setTimeout(() => {
      if (waiting()[0]) send(heard);
      else if (store().elsewhere! > Date.now()) follow().catch(() => {});
    }, 99);
};

const press: Record<string, () => void> = {
  // "Accept all" leaves out what the browser's privacy signal refuses; the banner says so.
  accept_all: () => decide((input) => !opposed(input), "accept_all"),
  refuse_all: () => decide(() => false, inputs.some(answer) ? "withdraw_all" : "refuse_all"),
  save: () => decide((input) => input.checked, "save"),
  open: show,
  close: () => dialog.close(),
  page: async () => {
    const form = root.querySelector<HTMLFormElement & { token: HTMLInputElement }>("form")!;
    form.action = `${base}/preferences/enter?key=${settings.key}&language=${host.lang}`;
    if (account || store().handle) {
      form.token.value = await subjectToken();
      keep({ elsewhere: Date.now() + 864e5 });
    }
    form.submit();
  },
};

/** Lay banner and dialog out in a language, best first; with none, take over what the page brought. */
const speak = async (languages?: string): Promise<void> => {
  const was = dialog?.open;
  await layOut(root, languages && languages + (gpc() ? "&gpc=1" : ""));
  [section, dialog, corner, status] = root.children as unknown as [HTMLElement, HTMLDialogElement, HTMLElement, HTMLElement];
  inputs = [...root.querySelectorAll<HTMLInputElement>("[role=switch]")];
  dialog.onchange = ({ target }) => (target as HTMLSelectElement).options && speak((target as HTMLSelectElement).value);
  host.lang = section.lang;
  host.dir = section.dir;
  const here = host.isConnected;
  if (!here) {
    section.remove();
    document.body.prepend(host);
  }
  if (!host.popover) {
    // The top layer is above every z-index of the page.
    host.popover = "manual";
    host.showPopover?.();
  }
  recall();
  if (!here) {
    // A task for its layout alone: in the frame that paints it, or with the work before, it would be a long one.
    // Before any frame, unlike a timer's; a browser that cannot yield does it at once.
    await (window as unknown as Scope).scheduler?.yield?.();
    root.prepend(section);
    fit();
  }
  new ResizeObserver(fit).observe(section);
  if (was) {
    show();
    root.querySelector("select")!.focus();
  }
};

type Prepared = Document & { prerendering?: boolean; onprerenderingchange?: (event: unknown) => void };
type Scope = { scheduler?: { yield?: () => Promise<void> }; consent?: { ready?: unknown; [name: string]: unknown } };

const start = async (): Promise<void> => {
  // A script without `defer` may be there before the page is: "loading" has no eighth letter, the states after it have.
  if (!document.readyState[7]) await new Promise((go) => document.addEventListener("readystatechange", go));
  // A page that is only being prepared asks nobody yet.
  if ((document as Prepared).prerendering) await new Promise((go) => ((document as Prepared).onprerenderingchange = go));
  sheet.replaceSync(css);
  root.adoptedStyleSheets = [sheet];
  root.addEventListener("click", (event) => press[(event.target as Element).closest("button")?.value!]?.());
  const early = root.querySelector(":popover-open");
  await speak(root.firstChild ? "" : settings.language || document.documentElement.lang + "," + navigator.languages);
  if (held) setTimeout(release, 3e3);
  for (const button of root.querySelectorAll<HTMLButtonElement>("[popovertarget]")) button.popoverTargetElement = null;
  // What she pressed before this script was there.
  press[early?.id!]?.();
  // What the first frame does not need comes after it.
  setTimeout(() => {
    tabs = new BroadcastChannel("consent");
    tabs.onmessage = ({ data }) => {
      if (account) return;
      said = data;
      apply();
    };
  });
  addEventListener("pageshow", ({ persisted }) => persisted && recall());
  document.addEventListener("click", (event) => {
    if (!(event.target as Element).closest("[data-consent-open]")) return;
    event.preventDefault();
    show();
  });
};

// An element of the page with the id "consent" is none of this script.
if (!(window as unknown as Scope).consent?.ready) {
  (window as unknown as Scope).consent = {
    ready: start().catch(() => host.remove()),
    allows,
    choices,
    open: show,
    apply,
    token: subjectToken,
    say,
    onChange: (listener: (choices: Record<string, boolean>) => void) =>
      document.addEventListener("consentchange", (event) => listener((event as CustomEvent).detail)),
    use: async (token?: string) => {
      use(token);
      said = {};
      await (token ? follow() : recall());
    },
  };
}
