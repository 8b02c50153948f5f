// @c15t/backend over HTTP on SQLite or PostgreSQL, as it ships or mended: node server.mjs PORT KIND PLACE DATABASE [mended]
// Prints its durability settings, as the database gives them, as one line of JSON before it listens.
import { serve } from "@hono/node-server";
import { c15tInstance } from "@c15t/backend";
import { kyselyAdapter } from "@c15t/backend/db/adapters/kysely";
import { DB } from "@c15t/backend/db/schema";
import { migrator } from "@c15t/backend/db/migrator";
import { Kysely, PostgresDialect, SqliteDialect, sql } from "kysely";
import Database from "libsql";
import pg from "pg";

const [port, kind, place, database, mended] = process.argv.slice(2);
const sqlite = kind === "sqlite";
const file = sqlite ? new Database(place) : null;
if (sqlite && mended) file.pragma("journal_mode = WAL");
const dialect = sqlite
  ? new SqliteDialect({ database: file })
  : new PostgresDialect({ pool: new pg.Pool({ host: place, user: "postgres", database, max: 16 }) });
const db = new Kysely({ dialect });

const adapter = kyselyAdapter({ db, provider: sqlite ? "sqlite" : "postgresql" });
const plan = await migrator({ db: DB.client(adapter), schema: "latest" });
await plan.execute?.();
if (mended) {
  await sql`create index if not exists mended_consent_subject on consent ("subjectId")`.execute(db);
  await sql`create index if not exists mended_subject_external on subject ("externalId")`.execute(db);
}

async function setting(name) {
  if (sqlite) return Object.values(file.pragma(name)[0] ?? {})[0];
  const { rows } = await sql.raw(`show ${name}`).execute(db);
  return Object.values(rows[0])[0];
}
const names = sqlite ? ["journal_mode", "synchronous"] : ["synchronous_commit", "fsync"];
const settings = Object.fromEntries(await Promise.all(names.map(async (name) => [name, await setting(name)])));

const c15t = c15tInstance({
  appName: "bench",
  basePath: "/",
  trustedOrigins: ["http://127.0.0.1"],
  adapter,
  logger: { level: "error" },
});
serve({ fetch: c15t.handler, port: Number(port), hostname: "127.0.0.1" }, () =>
  console.log(JSON.stringify(settings)),
);
