/** (9) The CSV table that a pack has of its records. */
import { type Kind, type Record_, parseChoices } from "./record.ts";

export const VIEW_HEADER = "index,kind,recorded_at,decided_at,subject,method,source,actor,language,gpc,notice,choices,purpose,status,valid_until\r\n";

/** Return a quoted CSV cell that no spreadsheet takes for a formula. */
export function cell(text: string): string {
  return `"${(/^[=+\-@\t\r]/.test(text) ? "'" + text : text).replaceAll('"', '""')}"`;
}

/** Return the rows that the CSV table has for an entry: one per purpose, or one. */
export function viewRows(index: number, kind: Kind, record: Record_ | null): string {
  if (!record) return `${index},${kind},,,,,,,,,,,,,\r\n`;
  const { recorded_at: recorded = "", subject = "", actor = "" } = record;
  if (kind !== "decision" && kind !== "link") return `${index},${kind},${recorded},,,,,,,,${kind === "notice" ? record["notice"] : ""},,,,\r\n`;
  const said = (parseChoices(record["choices"] ?? "") ?? []).map(([purpose, choice]) => `${purpose}=${choice}`).join(" ");
  const { method = "", source = "", language = "", gpc = "", notice = "", decided_at: decided = "" } = kind === "decision" ? record : {};
  const start = `${index},${kind},${recorded},${decided},${cell(subject)},${cell(method)},${cell(source)},${cell(actor)},${cell(language)},${gpc},${notice},${cell(said)},`;
  if (!record["consents"]) return start + ",,\r\n"; // a link that changed nothing
  // "a":{"status":"b","valid_until":"c"},… becomes "a",b,c and a new row; a purpose can begin with no other formula's sign
  const rows = record["consents"].replaceAll('"-', "\"'-").replaceAll('":{"status":"', '",').replaceAll('","valid_until":"', ",");
  return start + rows.slice(0, -2).replaceAll('"},', "\r\n" + start) + "\r\n";
}
