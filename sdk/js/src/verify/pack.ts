/** One run over one pack: what verify.py does, step by step, in a browser or in Node.js. */
import { AMBIGUOUS, type Bytes, type Json, Fault, Refused, base64, crc32, decoded, hasher, hex, isCanonical, json, member, noted, same, text, utf8 } from "./bytes.ts";
import { Chains } from "./chains.ts";
import { MEGABYTE, Pack, type Source } from "./container.ts";
import { type Entry, EntryReader } from "./entries.ts";
import { Erasures, openCertificate } from "./erasures.ts";
import { KeyHistory } from "./keys.ts";
import { MANIFEST, type Manifest, SIGNATURE, checkMembers, madeBy, readManifest, reason } from "./manifest.ts";
import { millis } from "./standing.ts";
import { Tree, leafHash, verifyConsistency, verifyInclusion } from "./tree.ts";
import { VIEW_HEADER, viewRows } from "./view.ts";
import { Witnesses } from "./witnesses.ts";

/** Chains held in memory in one pass; a larger pack is read several times. */
const SUBJECTS_AT_ONCE = 100_000;
const CLOCK_TOLERANCE = 300_000;
const LANGUAGE = /^[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8})*$/;
const COUNTED = ["members", "checkpoints", "notices", "entries", "records", "erased", "erasures", "statuses", "subjects"] as const;

export type Progress = (done: number, total: number) => void;

export class Verification {
  readonly counts = Object.fromEntries(COUNTED.map((name) => [name, 0])) as Record<(typeof COUNTED)[number], number>;
  readonly remarks: string[] = [];
  readonly kinds: Record<string, number> = {};
  private readonly keys: KeyHistory;
  private readonly chains: Chains;
  private readonly erasures: Erasures;
  private readonly notices = new Map<string, Json>();
  private readonly linkedTo = new Set<string>();
  private latest = "";
  private current = "null";
  private readonly spoken = new Set<string>();
  private readonly madeBy: string;
  private readonly reader: EntryReader;
  private done = 0;

  private constructor(
    private readonly pack: Pack,
    readonly manifest: Manifest,
    pinned: string | null,
    private readonly progress: Progress,
    private readonly witnesses: Witnesses,
  ) {
    this.keys = new KeyHistory(manifest, pinned);
    this.madeBy = madeBy(manifest.made_at);
    this.chains = new Chains(manifest.from, this.notices);
    this.erasures = new Erasures(pack, manifest);
    this.reader = new EntryReader(manifest);
  }

  static async of(source: Source, pinned: string | null, progress: Progress, witnesses: readonly string[] = []): Promise<Verification> {
    const pack = await Pack.open(source);
    return new Verification(pack, await readManifest(pack), pinned, progress, new Witnesses(witnesses));
  }

  /** Check everything; throw a `Fault` at the first thing that does not hold. */
  async run(): Promise<void> {
    try {
      this.counts.members = await checkMembers(this.pack, this.manifest, (bytes) => this.report(bytes / 64));
      await this.readNotices();
      await (this.manifest.mode === "subject" ? this.runSubject() : this.runRange());
      this.keys.check();
      this.remarks.push(...this.witnesses.check(this.manifest));
      this.checkCounts();
    } catch (error) {
      if (error instanceof Fault) throw error;
      throw new Fault("manifest", MANIFEST, `lacks something or has it in another form (${reason(error)})`);
    }
  }

  get cosignatures(): number {
    return this.witnesses.count;
  }

  private report(done: number): void {
    this.done = Math.max(this.done, done);
    const end = this.pack.members.get(SIGNATURE)?.end ?? 1;
    this.progress(this.done, end / 64 + this.manifest.to - this.manifest.from);
  }

  // Step (3): the words.

  private async readNotices(): Promise<void> {
    for (const [name, { size }] of this.pack.members) {
      if (!name.startsWith("notices/")) continue;
      const data = await this.pack.read(name, Math.min(size, 8 * MEGABYTE));
      const digest = hex(hasher().update(data).digest());
      if (name !== `notices/${digest}.json`) throw new Fault("notices", name, "the words are not those that its name is the digest of");
      if (!isCanonical(data)) throw new Fault("notices", name, AMBIGUOUS);
      this.notices.set(digest, json(text(data)));
      this.counts.notices++;
    }
  }

  // Steps (4) to (7): a whole range of the log.

  private async runRange(): Promise<void> {
    const { from, to, counts } = this.manifest;
    const tree = this.startTree();
    const due = await this.checkpoints();
    const checkTree = (): void => {
      if (tree.size === due[0]?.size && !same(due.shift()!.root, tree.root())) {
        throw new Fault("tree", `size ${tree.size}`, "the leaves do not lead to the root that was signed");
      }
    };
    checkTree();
    const parts = 1 + Math.floor((counts["subjects"] ?? NaN) / SUBJECTS_AT_ONCE);
    if (Number.isNaN(parts)) throw new Refused("lacks subjects");
    const bytes = this.done;
    for await (const entry of this.entries(true)) {
      const { index, leaf, kind, record } = entry;
      if (index !== tree.size) throw new Fault("entries", "entries", `expected entry ${tree.size}`, index);
      tree.append(leaf);
      if (record && parts === 1 && (kind === "decision" || kind === "link")) this.chains.follow(entry, record, true);
      else if (record && kind === "link") this.linkedTo.add(record["linked"]!);
      checkTree();
      if (index % 512 === 0) this.report(bytes + index - from);
    }
    if (tree.size !== to || due.length) throw new Fault("tree", "entries", `the pack ends at entry ${tree.size}, not at ${to}`);
    await this.erasures.end();
    this.checkRoot(tree.root());
    this.checkSince(tree.size, tree.root());
    await this.checkDigests();
    for (let part = 0; parts > 1 && part < parts; part++) await this.chainsOf(part, parts);
    this.remarks.push(...this.erasures.check(this.counts.erased));
    const [unpublished] = [...this.notices.keys()].filter((digest) => !this.chains.published.has(digest)).sort();
    if (from === 0 && to === this.manifest.head && unpublished !== undefined) {
      throw new Fault("notices", `notices/${unpublished}.json`, "words that this log never published");
    }
  }

  private startTree(): Tree {
    const { from, start } = this.manifest;
    if (from === 0) return new Tree();
    const peaks = (member(start, "peaks") as string[]).map((peak) => decoded(peak, 32));
    let bits = 0;
    for (let rest = from; rest; rest = Math.floor(rest / 2)) bits += rest % 2;
    if (peaks.length !== bits) throw new Fault("tree", MANIFEST, "the tree before the first entry has another shape");
    const remark = `The pack begins at entry ${from}: what subjects had chosen before is not in it, and the first status of each purpose is taken as it is stated where the choice allows it.`;
    if (!this.remarks.includes(remark)) this.remarks.push(remark);
    return new Tree(from, peaks);
  }

  private async checkpoints(): Promise<{ size: number; root: Bytes }[]> {
    const due: { size: number; root: Bytes }[] = [];
    for await (const lines of this.pack.lines("checkpoints.ndjson")) {
      for (const line of lines) {
        const where = `line ${due.length}`;
        let signed;
        let note: Json;
        try {
          note = noted(line);
          signed = await this.keys.signed(note);
        } catch (error) {
          if (!(error instanceof Refused)) throw error;
          throw new Fault("checkpoints", where, error.message);
        }
        if (due.length && signed.size <= due.at(-1)!.size) throw new Fault("checkpoints", where, "out of order");
        due.push(signed);
        await this.witnesses.read(where, signed.size, note, signed.signers);
      }
    }
    this.counts.checkpoints = due.length;
    const sizes = new Set(due.map(({ size }) => size));
    const { from, to } = this.manifest;
    if ([from, to].some((size) => size !== 0 && !sizes.has(size)) || due.some(({ size }) => size < from)) {
      throw new Fault("checkpoints", "checkpoints.ndjson", "none is signed over the beginning or the end");
    }
    return due;
  }

  private async *entries(views: boolean): AsyncGenerator<Entry> {
    for (const { name } of this.manifest.members) {
      if (!name.startsWith("entries/")) continue;
      const table = hasher().update(utf8(VIEW_HEADER));
      for await (const lines of this.pack.lines(name)) {
        let rows = "";
        for (const line of lines) {
          const entry = this.reader.read(line, name);
          if (views) {
            this.count(entry);
            if (entry.kind === "erasure") await this.erasures.follow(entry, this.counts.erased);
            rows += viewRows(entry.index, entry.kind, entry.record);
          }
          yield entry;
        }
        table.update(utf8(rows));
      }
      if (views) await this.checkView(name.replace("entries/", "table/").replace(".ndjson", ".csv"), hex(table.digest()));
    }
  }

  private count({ index, kind, record }: Entry): void {
    this.kinds[kind] = (this.kinds[kind] ?? 0) + 1;
    if (!record) {
      this.counts.erased++;
      return;
    }
    const recorded = record["recorded_at"]!;
    if (recorded > this.madeBy) throw new Fault("entries", "recorded_at", "was recorded after the pack was made", index);
    if (recorded >= this.latest) this.latest = recorded;
    else if (millis(this.latest) - millis(recorded) > CLOCK_TOLERANCE) {
      throw new Fault("entries", "recorded_at", "is backdated: an earlier entry was recorded later", index);
    }
    if (kind === "decision") this.checkLanguage(index, record["notice"]!, record["language"]!);
    else if (kind === "notice") {
      const notice = record["notice"]!;
      if (!this.notices.has(notice)) throw new Fault("notices", notice, "the words of this notice are missing", index);
      if (this.manifest.from === 0 && record["supersedes"]!.replaceAll('"', "") !== this.current) {
        throw new Fault("notices", "supersedes", "another notice was in force before it", index);
      }
      this.current = notice;
      this.chains.published.add(notice);
    } else if (kind === "key" && record["vkey"] !== "null") {
      this.keys.replaced(index, record["previous"]!.slice(1, -1), record["vkey"]!.slice(1, -1));
    }
  }

  /** Check that a notice was written in the language of a decision, or in a wider one (RFC 4647 look-up). */
  private checkLanguage(index: number, notice: string, language: string): void {
    const known = `${notice} ${language}`;
    if (this.spoken.has(known) || !this.notices.has(notice)) return; // without the words no status follows: step (8)
    const written = new Set((member(this.notices.get(notice)!, "languages") as string[]).map((tag) => tag.toLowerCase()));
    const parts = LANGUAGE.test(language) ? language.toLowerCase().split("-") : [];
    if (!parts.some((_, at) => written.has(parts.slice(0, at + 1).join("-")))) {
      throw new Fault("notices", notice, "was decided in a language in which these words were never written", index);
    }
    if (this.spoken.size < 10_000) this.spoken.add(known);
  }

  private async checkView(name: string, expected: string): Promise<void> {
    const held = this.pack.members.has(name) ? await this.pack.digest(name) : null;
    if (held !== expected) throw new Fault("views", name, "does not say what the records say");
  }

  /** Check that the contents have the digests that the manifest gives them, also where nothing else reads them. */
  private async checkDigests(): Promise<void> {
    for (const { name, sha256 } of this.manifest.members) {
      if ((await this.pack.digest(name)) !== sha256) throw new Fault("container", name, "its contents are not those that the manifest names");
    }
  }

  // Steps (7) and (8): the chains.

  /** Follow the subjects of one part, and beside them those that links make part of their state. */
  private async chainsOf(part: number, parts: number): Promise<void> {
    this.chains.forget();
    for await (const entry of this.entries(false)) {
      const { record, kind } = entry;
      if (!record || (kind !== "decision" && kind !== "link")) continue;
      const own = crc32(utf8(record["subject"]!)) % parts === part;
      if (own || this.linkedTo.has(record["subject"]!)) this.chains.follow(entry, record, own);
    }
  }

  // Steps (6) and (10): the end.

  private checkRoot(root: Bytes): void {
    if (!same(decoded(this.manifest.root, 32), root)) throw new Fault("tree", MANIFEST, "names another root than the last checkpoint");
  }

  private checkSince(end: number, newer: Bytes): void {
    const { since } = this.manifest;
    if (!since) return;
    const [size, root, steps] = ["size", "root", "proof"].map((name) => member(since, name)) as [number, string, string[]];
    try {
      const proof = steps.map((step) => decoded(step, 32));
      const older = { size, root: decoded(root, 32) };
      verifyConsistency(older, { size: end, root: newer }, proof);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      throw new Fault("tree", "since", error.message);
    }
  }

  private checkCounts(): void {
    this.counts.entries = Object.values(this.kinds).reduce((sum, count) => sum + count, 0);
    this.counts.statuses = this.chains.statuses;
    this.counts.subjects = this.chains.subjects;
    this.counts.records = this.counts.entries - this.counts.erased;
    this.counts.erasures = this.kinds["erasure"] ?? 0;
    const { entries, records, erased, subjects } = this.counts;
    const spelled = (counts: Record<string, number>): string =>
      JSON.stringify(Object.entries(counts).filter(([, count]) => count).sort(([left], [right]) => (left < right ? -1 : 1)));
    if (spelled(this.manifest.counts) !== spelled({ entries, records, erased, subjects, ...this.kinds })) {
      throw new Fault("counts", MANIFEST, "its counts are not those of the entries");
    }
    if ([...this.pack.members.keys()].some((name) => name.endsWith(".parquet"))) {
      this.remarks.push("Of the Parquet tables only the digests were checked: this program does not read Parquet.");
    }
  }

  // A certificate that somebody holds.

  /** Check that a certificate is of an erasure in this pack, and that the log's key signed it. */
  async checkCertificate(certificate: string): Promise<void> {
    const fault = (message: string, index: number | null = null): Fault => new Fault("certificate", "certificate", message, index);
    const { index, committed } = await openCertificate(certificate, this.manifest).catch((error: unknown) => {
      throw fault(reason(error));
    });
    for await (const entry of this.entries(false)) {
      if (entry.index !== index) continue;
      if (entry.committed === committed && entry.kind === "erasure") return;
      throw fault("the log has another entry there", index);
    }
    throw fault("is of an entry that is not in this pack", index);
  }

  // A pack of one subject: entries with a proof each.

  private async runSubject(): Promise<void> {
    const { size, root } = (await this.checkpoints()).at(-1)!;
    if (size !== this.manifest.to) throw new Fault("checkpoints", "checkpoints.ndjson", "the last one is beyond the end of the pack");
    let last = -1;
    const table = hasher().update(utf8(VIEW_HEADER));
    for (const notice of this.notices.keys()) this.chains.published.add(notice);
    for await (const lines of this.pack.lines("entries/000000.ndjson")) {
      for (const line of lines) {
        const entry = this.reader.read(line, "entries/000000.ndjson");
        const { index, kind, record, leaf, proof } = entry;
        if (index <= last || !record || (kind !== "decision" && kind !== "link")) {
          throw new Fault("entries", "entries", "out of order, or without a record of hers", index);
        }
        this.count(entry);
        this.checkProof(index, size, leaf, proof, root);
        this.chains.follow(entry, record, true);
        table.update(utf8(viewRows(index, kind, record)));
        last = index;
      }
    }
    await this.checkView("table/000000.csv", hex(table.digest()));
    this.checkRoot(root);
    this.checkSince(size, root);
    await this.checkDigests();
    this.remarks.push(
      "This pack has one subject's entries: none is missing between the first and the last, " +
        "but that there is no later one, and that these words were published, is the log's word.",
    );
  }

  private checkProof(index: number, size: number, leaf: Bytes, proof: string | undefined, root: Bytes): void {
    try {
      const steps = json(`[${proof ?? ""}]`) as string[];
      verifyInclusion(index, size, leafHash(leaf), steps.map((step) => decoded(step, 32)), root);
    } catch (error) {
      if (!(error instanceof Refused || error instanceof TypeError)) throw error;
      throw new Fault("tree", "proof", reason(error), index);
    }
  }

  // An older pack beside this one.

  /** Check that this pack continues an older one of the same log, by a proof in it or from its own leaves. */
  async continues(older: Manifest): Promise<void> {
    if (older.origin !== this.manifest.origin || !this.manifest.keys.includes(older.vkey)) {
      throw new Fault("tree", "previous", "the older pack is another log's, or signed by none of its keys");
    }
    const { since, mode, from, to } = this.manifest;
    const root = decoded(older.root, 32);
    if (older.to > to) throw new Fault("tree", "previous", "the pack given as previous is the newer one");
    if (older.head > this.manifest.head) throw new Fault("tree", "previous", `the log had ${older.head} entries when the older pack was made, and has fewer now`);
    if (older.keys.some((key, at) => key !== this.manifest.keys[at])) throw new Fault("manifest", "previous", "the two packs disagree about the keys that the log had");
    let agrees: boolean;
    if (since && since["size"] === older.to) agrees = since["root"] === base64(root);
    else if (mode === "range" && from <= older.to) agrees = same(await this.rootAt(older.to), root);
    else throw new Fault("tree", "previous", `nothing here leads back to size ${older.to}: export with --since ${older.to}`);
    if (!agrees) throw new Fault("tree", "previous", "the two packs disagree: the log was rewritten; keep both, they prove it");
  }

  private async rootAt(size: number): Promise<Bytes> {
    const tree = this.startTree();
    if (tree.size < size) {
      for await (const { leaf } of this.entries(false)) {
        tree.append(leaf);
        if (tree.size === size) break;
      }
    }
    return tree.root();
  }
}
