/** The page the script stands on: the script element's attributes, where the service is, the fragment it lays out. */

const script = document.currentScript as HTMLScriptElement;

/** `data-key`, `data-domain`, `data-language`: the attributes of the script element. */
export const settings = script.dataset;

/** The service's address: the script's own, without `banner.js` or `static/banner-….js`. */
export const base = script.src.replace(/\/(static\/)?[^/]*$/, "");

const OTHERS =
  ":not(a,b,button,dd,dialog,div,dl,dt,fieldset,form,h2,header,i,input,label,li,option,p,section,select,small,ul)," +
  "[href]:not([href^=http],[href^=mailto],[href^=tel])";
const RUNNING = /^(on|form|action|style)/;

/**
 * Fetch banner and dialog in one language, laid out by the service. The answer is parsed without being run, and keeps
 * only elements of a closed list, none of which loads or runs anything, without handlers, styles and other addresses
 * than those of pages: with this file pinned by `integrity`, no answer can bring code in.
 */
export const layout = (languages: string): Promise<Node[]> =>
  new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("GET", `${base}/v1/banner?key=${settings.key}&language=${languages}`);
    request.responseType = "document";
    request.onloadend = () => {
      const body: HTMLElement | undefined = request.response?.body;
      // No answer, an error page, garbage: no banner.
      if (!body?.querySelector("dialog [role=switch]")) return reject();
      for (const element of body.querySelectorAll("*")) {
        if (element.matches(OTHERS)) element.remove();
        for (const name of element.getAttributeNames()) if (RUNNING.test(name)) element.removeAttribute(name);
      }
      resolve([...body.childNodes]);
    };
    request.send();
  });
