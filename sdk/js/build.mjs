/** Builds the banner, its adapters and the verifier into the service's static files; `--check` proves that they are this build's output. */
import { build, transform } from "esbuild";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { minify } from "terser";

const here = dirname(fileURLToPath(import.meta.url));
const out = process.env.BANNER_OUT ?? join(here, "../../consent_service/web/static");
const check = process.argv.includes("--check");

const squeezed = async (path) => {
  const { code } = await transform(readFileSync(path, "utf8"), { loader: "css", minify: true, target: "chrome115" });
  return code.trim().replace(/([,:]) /g, "$1");
};
const styles = {
  name: "styles",
  setup({ onLoad }) {
    onLoad({ filter: /\.css$/ }, async ({ path }) => ({ contents: await squeezed(path), loader: "text" }));
  },
};

const entries = { "banner.js": "src/banner.ts" };
for (const name of ["account", "consent-mode", "embeds", "segment", "shopify"]) entries[`${name}.js`] = `src/adapters/${name}.ts`;
entries["verify.js"] = "src/verify/page.ts";
entries["verify-worker.js"] = "src/verify/worker.ts";
/** What the service may pass to a script, between its last parentheses; a letter each, which no other name gets. */
const passed = { "banner.js": { brought: "B", wishes: "W" } };
/** Compiled beside the page's own work, whole: function by function it would be on the main thread (Chromium's explicit compile hints). */
const hints = { "banner.js": "//# allFunctionsCalledOnLoad\n" };
const squeeze = {
  module: true,
  ecma: 2022,
  compress: { passes: 4, unsafe_arrows: true, unsafe_methods: true, booleans_as_integers: false, pure_getters: true },
};
let stale = 0;
mkdirSync(out, { recursive: true });
const integrity = {};
for (const [name, entry] of Object.entries(entries)) {
  const { outputFiles } = await build({
    entryPoints: [join(here, entry)],
    bundle: true,
    write: false,
    format: "esm",
    target: "es2022",
    charset: "utf8",
    legalComments: "none",
    plugins: [styles],
    absWorkingDir: here,
  });
  const given = Object.entries(passed[name] ?? {});
  const reserved = given.map(([, letter]) => letter);
  const text = given.reduce((all, [word, letter]) => all.replaceAll(new RegExp(`\\b${word}\\b`, "g"), letter), outputFiles[0].text);
  const { code: small } = await minify(fewer(name, text), { ...squeeze, compress: { ...squeeze.compress, lhs_constants: name !== "banner.js" }, mangle: { reserved } });
  const code = Buffer.from(`${hints[name] ?? ""}((${reserved})=>{${small.replace(/;$/, "")}})()\n`);
  integrity[name] = {
    hashed: name.replace(".js", `.${createHash("sha256").update(code).digest("hex").slice(0, 16)}.js`),
    integrity: "sha384-" + createHash("sha384").update(code).digest("base64"),
    bytes: code.length,
    gzip: gzipSync(code, { level: 9 }).length,
  };
  stale += put(name, code);
}
// For pages that bring the banner along: the style that the script carries, as a file.
stale += put("banner.css", Buffer.from((await squeezed(join(here, "src/style.css"))) + "\n"));
stale += put("integrity.json", Buffer.from(JSON.stringify(integrity, null, 2) + "\n"));
console.table(integrity, ["bytes", "gzip"]);
if (stale) {
  console.error("The committed files are not this build's output: run `make js` and commit them.");
  process.exit(1);
}

/** The banner has to be small: one word for `const` and `let` is ten bytes of gzip. */
function fewer(name, text) {
  return name === "banner.js" ? text.replace(/\bconst\b/g, "let") : text;
}

/** Write a file, or in a check say 1 when the committed one differs. */
function put(name, bytes) {
  const path = join(out, name);
  if (!check) return writeFileSync(path, bytes), 0;
  let committed = Buffer.alloc(0);
  try {
    committed = readFileSync(path);
  } catch {
    console.error(`${name} is missing`);
  }
  return committed.equals(bytes) ? 0 : (console.error(`${name} differs`), 1);
}
