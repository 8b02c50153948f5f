/** The page the script stands on: the script element's attributes, where the service is, the fragment it lays out. */

/** What the service puts in with this file where it can tell for whom (ADR 0053): a fragment, and the wishes that it meets. */
declare const brought: string, wishes: RegExp | undefined;

const script = document.currentScript as HTMLScriptElement;

/** `data-key`, `data-domain`, `data-language`: the attributes of the script element. */
export const settings = script.dataset;

/** The service's address: the script's own, without `banner.js` or `static/banner-….js`. */
export const base = script.src.replace(/\/(static\/)?[^/]*$/, "");

const OTHERS =
  ":not(a,b,button,dd,dialog,div,dl,dt,fieldset,form,h2,i,input,label,li,option,p,section,select,small,ul)";
const RUNNING = /^(on|form|action|style|href=(?!http|mailto|tel))/;

/**
 * Lay banner and dialog out as wished: languages, best first, and what else the service should say; nothing where no wish
 * is: the page brought them. What came with this
 * file is as trusted as the file. Else the service is asked, and its answer is parsed without being run, and keeps
 * only elements of a closed list, none of which loads or runs anything, without handlers, styles and other addresses
 * than those of pages: with this file pinned by `integrity`, no answer can bring code in.
 */
export const layOut = (root: ShadowRoot, wish?: string): Promise<unknown> =>
  new Promise((resolve, reject) => {
    // What is here already gets a task of its own: together with the page's first layout it would be a long one.
    if (!wish || (root.setHTML && wishes?.test(wish))) return setTimeout(() => resolve(wish && root.setHTML!(brought, { sanitizer: {} })));
    const request = new XMLHttpRequest();
    request.open("GET", `${base}/v1/banner?key=${settings.key}&language=${wish}`);
    request.responseType = "document";
    request.onloadend = () => {
      const body: HTMLElement | undefined = request.response?.body;
      // No answer, an error page, garbage: no banner.
      if (!body?.querySelector("dialog [role=switch]")) return reject();
      for (const element of body.querySelectorAll("*")) {
        if (element.matches(OTHERS)) element.remove();
        for (const { name, value } of [...element.attributes]) if (RUNNING.test(name + "=" + value)) element.removeAttribute(name);
      }
      resolve(root.replaceChildren(...body.childNodes));
    };
    request.send();
  });

declare global {
  interface ShadowRoot {
    /** HTML Sanitizer API: Trusted Types have nothing to object to. */
    setHTML?(html: string, options: object): void;
  }
}
