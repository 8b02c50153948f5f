/**
 * Optional: frames that wait for a purpose (`<iframe data-purpose="coupons" data-src="https://…">`) get a placeholder that
 * explains and offers the choice; cookies that an element names (`data-cookies="_ga _ga_*"`) go when its purpose is not
 * allowed. `<script src="…/static/embeds.js" defer>`, before or after the banner.
 */

import { consent, shadow, words } from "./addon.ts";

const asking = new Map<HTMLIFrameElement, HTMLElement>();

const CSS_TEXT = `div{box-sizing:border-box;padding:1rem 1.25rem;border:1px solid;border-radius:.5rem;font:1rem/1.5 system-ui,sans-serif}
p{margin:0 0 .75rem}button{font:inherit;font-weight:600;min-height:2.75rem;padding:.375rem 1rem;border:1px solid;border-radius:.5rem;background:none;color:inherit;cursor:pointer}
:focus-visible{outline:3px solid;outline-offset:2px}`;

/** Remove cookies by name on this host and its parents; `*` stands for any end. */
const clean = (names: string): void => {
  const wanted = names.split(" ").map((name) => new RegExp(`^${name.replace(/[^\w*-]/g, "\\$&").replace("*", ".*")}$`));
  for (const pair of document.cookie.split("; ")) {
    const name = pair.split("=")[0]!;
    if (!wanted.some((form) => form.test(name))) continue;
    const gone = `${name}=;Path=/;Max-Age=0`;
    document.cookie = gone;
    for (let host = location.hostname; host.includes("."); host = host.slice(host.indexOf(".") + 1)) {
      document.cookie = `${gone};Domain=${host}`;
    }
  }
};

const placeholder = (frame: HTMLIFrameElement): HTMLElement => {
  const root = shadow();
  const { lang, dir } = root.querySelector("section")!;
  const host = document.createElement("consent-embed");
  const inner = host.attachShadow({ mode: "open" });
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(CSS_TEXT);
  inner.adoptedStyleSheets = [sheet];
  const box = Object.assign(document.createElement("div"), { lang, dir });
  const text = document.createElement("p");
  const choose = Object.assign(document.createElement("button"), { onclick: () => consent()!.open() });
  choose.textContent = root.querySelector("section button[value=open]")!.textContent;
  const input = root.querySelector(`input[name="${CSS.escape(frame.dataset.purpose!)}"]`);
  const name = input?.closest("label")?.querySelector("b")?.textContent || frame.title;
  void words().then(({ blocked }) => (text.textContent = blocked!.replace("{name}", name)));
  box.append(text, choose);
  inner.append(box);
  return host;
};

const gate = (choices: Record<string, boolean>): void => {
  for (const element of document.querySelectorAll<HTMLElement>("[data-purpose][data-cookies]")) {
    if (!choices[element.dataset.purpose!]) clean(element.dataset.cookies!);
  }
  for (const frame of document.querySelectorAll<HTMLIFrameElement>("iframe[data-purpose]")) {
    const allowed = choices[frame.dataset.purpose!] === true;
    asking.get(frame)?.remove();
    frame.hidden = !allowed;
    if (allowed) {
      if (!frame.getAttribute("src")) frame.src = frame.dataset.src!;
    } else {
      if (frame.getAttribute("src")) frame.removeAttribute("src");
      const host = placeholder(frame);
      frame.before(host);
      asking.set(frame, host);
    }
  }
};

document.addEventListener("consentchange", (event) => gate((event as CustomEvent).detail));
// The banner may have been first.
void consent()?.ready.then(() => document.querySelector("consent-banner") && gate(consent()!.choices()));
