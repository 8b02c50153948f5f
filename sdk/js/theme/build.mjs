/** Turns a theme into a style sheet, or says why not: `node build.mjs theme.json theme.css`. */
import { readFileSync, writeFileSync } from "node:fs";
import { problems, sheet } from "./theme.mjs";

const [, , from, to] = process.argv;
if (!from || !to) {
  console.error("usage: node build.mjs theme.json theme.css");
  process.exit(2);
}
const theme = JSON.parse(readFileSync(from, "utf8"));
const found = problems(theme);
for (const problem of found) console.error(`${from}: ${problem}`);
if (found.length) process.exit(1);
writeFileSync(to, sheet(theme));
