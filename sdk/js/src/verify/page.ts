/** The page /verify: hands what is dropped to the worker and shows what that found. Nothing leaves the browser. */
import type { Answer, FaultFound, Task } from "./worker.ts";
import type { Verified } from "./whole.ts";
import type { VerifiedReceipt } from "./receipt.ts";

interface Words {
  [name: string]: string;
}

type Fact = [label: string, value: string | string[]];

/** What the page says in its own words; all else is a machine's and has a direction of its own. */
const SPOKEN = new Set(["choices", "decided", "recorded", "made", "checked"]);

const find = <Kind extends Element>(selector: string): Kind => document.querySelector<Kind>(selector)!;
const words = JSON.parse(find("#words").textContent!) as Words;
const { language } = document.documentElement.dataset;
const [drop, choose, older, key] = [find<HTMLElement>("#drop"), find<HTMLInputElement>("#file"), find<HTMLInputElement>("#previous"), find<HTMLInputElement>("#key")];
const certificates = find<HTMLInputElement>("#certificates");
const witnesses = find<HTMLTextAreaElement>("#witnesses");
const [bar, status, outcome] = [find<HTMLProgressElement>("progress"), find<HTMLElement>("#status"), find<HTMLElement>("#outcome")];
const worker = new Worker(find<HTMLElement>("main").dataset["worker"]!);

const say = (name: string): string => words[name] ?? name;
const moment = (text: string): string => new Date(text).toLocaleString(language, { dateStyle: "long", timeStyle: "medium", timeZone: "UTC" }) + " UTC";

/** What the verifier says of itself is English on a page of any language. */
function inEnglish(element: HTMLElement): void {
  element.lang = "en";
  element.dir = "ltr";
}

function show(good: boolean, facts: Fact[], { remarks = [], lead = "" }: { remarks?: string[]; lead?: string } = {}): void {
  const list = document.createElement("dl");
  for (const [label, value] of facts) {
    const row = list.appendChild(document.createElement("div"));
    row.appendChild(document.createElement("dt")).textContent = say(label);
    for (const line of [value].flat()) {
      const held = row.appendChild(document.createElement("dd")).appendChild(document.createElement("bdi"));
      held.textContent = line;
      if (SPOKEN.has(label)) held.dir = document.documentElement.dir;
      if (label === "why" && lead) inEnglish(held);
    }
  }
  const heading = document.createElement("h2");
  heading.textContent = say(good ? "verified" : "not_verified");
  outcome.replaceChildren(heading, list);
  if (lead) heading.after(Object.assign(document.createElement("p"), { textContent: lead }));
  outcome.className = good ? "card good" : "card bad";
  if (remarks.length) {
    const title = outcome.appendChild(document.createElement("h3"));
    title.textContent = say("not_shown");
    const notes = outcome.appendChild(document.createElement("ul"));
    inEnglish(notes);
    for (const remark of remarks) notes.appendChild(document.createElement("li")).textContent = remark;
  }
  outcome.hidden = false;
  status.textContent = heading.textContent;
}

function showPack({ origin, from, size, root, vkey, madeAt, checked, remarks }: Verified): void {
  const counted = Object.entries(checked).map(([what, count]) => `${count.toLocaleString(language)} ${say(what)}`);
  const facts: Fact[] = [["log", origin], ["entries_from_to", `${from} \u2013 ${size}`], ["root", root], ["log_key", vkey], ["made", moment(madeAt)], ["checked", counted]];
  show(true, facts, { remarks });
}

function showReceipt({ origin, index, size, root, vkey, keyPinned, decidedAt, recordedAt, cosignatures, choices }: VerifiedReceipt): void {
  const said = choices.map(({ name, status: outcome, until }) => `\u2068${name}\u2069: ${say(outcome)} (${moment(until)})`);
  const facts: Fact[] = [["choices", said], ["decided", moment(decidedAt)], ["recorded", moment(recordedAt)], ["log", origin], ["entry", `${index} (${size})`], ["root", root], ["log_key", vkey]];
  if (cosignatures) facts.push(["checked", `${cosignatures.toLocaleString(language)} ${say("cosignatures")}`]);
  const remarks = keyPinned ? [] : ["No key was given: the receipt agrees with itself, but anybody could have made it."];
  show(true, facts, { remarks });
}

function showFault({ check, where, index, fault }: FaultFound): void {
  const facts: Fact[] = [["check", check], ["where", where], ["why", fault]];
  if (index !== null) facts.splice(2, 0, ["entry", String(index)]);
  show(false, facts, { lead: say(`fault_${check}`) });
}

function busy(on: boolean): void {
  bar.hidden = !on;
  choose.disabled = on;
  drop.ariaBusy = String(on);
  if (!on) return;
  bar.removeAttribute("value");
  outcome.hidden = true;
  status.textContent = say("working");
}

function verify(file: File): void {
  if (choose.disabled) return;
  busy(true);
  const task: Task = { file, previous: older.files?.[0] ?? null, key: key.value.trim() || null, witnesses: witnesses.value.split(/\s+/).filter(Boolean), certificates: [...(certificates.files ?? [])] };
  worker.postMessage(task);
}

worker.onmessage = ({ data }: MessageEvent<Answer>): void => {
  if (data.kind === "progress") {
    bar.max = data.total;
    bar.value = data.done;
    return;
  }
  busy(false);
  if (data.kind === "pack") showPack(data.result);
  else if (data.kind === "receipt") showReceipt(data.result);
  else if (data.kind === "fault") showFault(data.result);
  else show(false, [["why", say("unreadable")]]);
  outcome.focus();
};

choose.addEventListener("change", () => {
  const file = choose.files?.[0];
  if (file) verify(file);
  choose.value = "";
});
for (const type of ["dragover", "drop"] as const) {
  addEventListener(type, (event) => {
    event.preventDefault(); // a file that misses the box does not replace the page
    drop.classList.toggle("over", type === "dragover");
    const file = type === "drop" ? event.dataTransfer?.files[0] : undefined;
    if (file) verify(file);
  });
}
addEventListener("dragleave", () => drop.classList.remove("over"));

// A point on the curve is enough to ask whether this browser knows the curve.
const base = new Uint8Array(32).fill(0x66);
base[0] = 0x58;
crypto.subtle.importKey("raw", base, "Ed25519", false, ["verify"]).then(
  () => document.documentElement.setAttribute("data-ready", ""),
  () => {
    choose.disabled = true;
    status.textContent = say("old_browser");
  },
);
