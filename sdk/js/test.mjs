/** Bundles the tests, which are TypeScript, and runs them with node's own runner. */
import { build } from "esbuild";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const outdir = mkdtempSync(join(tmpdir(), "banner-tests-"));
const names = readdirSync(join(here, "tests")).filter((name) => name.endsWith(".test.ts"));
await build({
  entryPoints: names.map((name) => join(here, "tests", name)),
  absWorkingDir: here,
  bundle: true,
  platform: "node",
  format: "esm",
  outExtension: { ".js": ".mjs" },
  loader: { ".css": "text" },
  outdir,
});
const { status } = spawnSync(process.execPath, ["--test", ...names.map((name) => join(outdir, name.replace(".ts", ".mjs")))], {
  stdio: "inherit",
  env: { ...process.env, VECTORS: join(here, "../../tests/vectors") },
});
rmSync(outdir, { recursive: true });
process.exit(status ?? 1);
