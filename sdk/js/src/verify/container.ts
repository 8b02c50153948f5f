/** (1) The container: a ZIP file of exactly the form that the toolkit writes: no gaps, comments, extras, or encryption. */
import { type Bytes, Fault, binary, crc32, hasher, hex, printable, same, text, utf8 } from "./bytes.ts";

/** Where the bytes of a pack are: a file that was dropped, or memory. */
export interface Source {
  readonly size: number;
  read(start: number, size: number): Promise<Bytes>;
}

export const fromBlob = (blob: Blob): Source => ({
  size: blob.size,
  read: async (start, size) => new Uint8Array(await blob.slice(start, start + size).arrayBuffer()),
});

export const fromBytes = (bytes: Bytes): Source => ({
  size: bytes.length,
  read: async (start, size) => bytes.subarray(start, start + size),
});

/** One file in the pack: its name and where its bytes are. */
export interface Member {
  name: string;
  method: number;
  crc: number;
  stored: number;
  size: number;
  start: number;
  data: number;
  end: number;
}

export const MEGABYTE = 1 << 20;
export const LARGEST_MANIFEST = 16 * MEGABYTE;
const LARGEST_DIRECTORY = 32 * MEGABYTE;
export const LARGEST_LINE = 4 * MEGABYTE;
const MOST_MEMBERS = 100_000;
const PIECE = 1 << 18;
/** What is inflated at once: a bomb of the worst kind makes 33 MB of it before it is noticed. */
const SIP = 1 << 15;
const NAME = /^(?:[a-z0-9-]{1,64}\/)?[a-z0-9-]{1,64}\.[a-z]{2,8}$/;
const DOS_DATE = 0x21;
const PERMISSIONS = 0o600 * 0x10000;
const [END, END64, LOCATOR, CENTRAL, LOCAL, DESCRIPTOR] = [22, 56, 20, 46, 30, 16] as const;

/** Return little-endian numbers, each given as [width in bytes, value], behind a mark. */
function packed(mark: string, ...fields: [2 | 4 | 8, number][]): Bytes {
  const bytes = new Uint8Array(4 + fields.reduce((sum, [width]) => sum + width, 0));
  const view = new DataView(bytes.buffer);
  [...mark].forEach((character, at) => (bytes[at] = character.charCodeAt(0)));
  let at = 4;
  for (const [width, value] of fields) {
    if (width === 2) view.setUint16(at, value, true);
    else if (width === 4) view.setUint32(at, value, true);
    else view.setBigUint64(at, BigInt(value), true);
    at += width;
  }
  return bytes;
}

const container = (where: string, message: string) => new Fault("container", where, message);

export class Pack {
  readonly members = new Map<string, Member>();
  private readonly digests = new Map<string, string>();

  private constructor(private readonly source: Source) {}

  static async open(source: Source): Promise<Pack> {
    const pack = new Pack(source);
    await pack.readDirectory();
    return pack;
  }

  private async at(offset: number, size: number): Promise<Bytes> {
    if (offset < 0) throw container("end of file", "the file is too short to be a pack");
    return this.source.read(offset, size);
  }

  private async exactly(offset: number, size: number): Promise<DataView> {
    const bytes = await this.at(offset, size);
    if (bytes.length !== size) throw container("end of file", "the file is too short to be a pack");
    return new DataView(bytes.buffer, bytes.byteOffset, size);
  }

  private async readDirectory(): Promise<void> {
    const [count, start, size] = await this.findDirectory();
    if (count > MOST_MEMBERS || size > LARGEST_DIRECTORY) throw container("directory", `more than ${MOST_MEMBERS} members`);
    const directory = await this.at(start, size);
    let [position, offset] = [0, 0];
    for (let number = 0; number < count; number++) {
      const [found, next] = this.central(directory, position, offset, number);
      await this.checkLocal(found);
      if (this.members.has(found.name)) throw container(found.name, "two members have this name");
      this.members.set(found.name, found);
      [position, offset] = [next, found.end];
    }
    if (offset !== start || position !== size) throw container("directory", "there are bytes that belong to no member");
  }

  private async findDirectory(): Promise<[count: number, start: number, size: number]> {
    let end = this.source.size - END;
    const tail = await this.exactly(end, END);
    const short = (at: number) => tail.getUint16(at, true);
    let [here, count, size, start] = [short(8), short(10), tail.getUint32(12, true), tail.getUint32(16, true)];
    if (tail.getUint32(0) !== 0x504b0506 || short(4) || short(6) || short(20)) {
      throw container("end of file", "the file does not end like a pack: is it truncated?");
    }
    if (here === 0xffff || count === 0xffff || size === 0xffffffff || start === 0xffffffff) {
      end -= LOCATOR + END64;
      const locator = await this.exactly(end + END64, LOCATOR);
      const large = await this.exactly(end, END64);
      const wide = [24, 32, 40, 48].map((at) => Number(large.getBigUint64(at, true))) as [number, number, number, number];
      const narrow = wide.map((value, at) => Math.min(value, at < 2 ? 0xffff : 0xffffffff));
      const expected = packed("PK\x06\x06", [8, 44], [2, 45], [2, 45], [4, 0], [4, 0]);
      if (
        !same(new Uint8Array(locator.buffer, locator.byteOffset, LOCATOR), packed("PK\x06\x07", [4, 0], [8, end], [4, 1])) ||
        !same(new Uint8Array(large.buffer, large.byteOffset, expected.length), expected)
      ) {
        throw container("end of file", "the directory of a large pack is malformed");
      }
      if ([here, count, size, start].some((value, at) => value !== narrow[at])) {
        throw container("end of file", "the two directories of a large pack differ");
      }
      [here, count, size, start] = wide;
    }
    if (here !== count || start + size !== end) throw container("end of file", "the directory is not where the file says");
    return [count, start, size];
  }

  /** Return the member that the directory has at `position`; every byte is what we would write. */
  private central(directory: Bytes, position: number, offset: number, number: number): [Member, number] {
    const where = `member ${number}`;
    if (position + CENTRAL > directory.length) throw container(where, "the file is too short to be a pack");
    const fields = new DataView(directory.buffer, directory.byteOffset + position, CENTRAL);
    const method = fields.getUint16(10, true);
    const [crc, stored, size] = [16, 20, 24].map((at) => fields.getUint32(at, true)) as [number, number, number];
    const length = fields.getUint16(28, true);
    const raw = directory.subarray(position + CENTRAL, position + CENTRAL + length);
    const name = binary(raw);
    if (raw.length !== length || !NAME.test(name)) throw container(where, `a name that no member has: ${printable(name)}`);
    const deflated = method === 8 && !/^manifest\.(json|note)$/.test(name); // no digest covers those two's raw bytes
    if (!deflated && (method !== 0 || stored !== size)) throw container(name, "is stored in another way than ours");
    const extra = offset > 0x7fffffff ? packed("\x01\x00\x08\x00", [8, offset]) : new Uint8Array(0);
    const needed = extra.length ? 45 : 20;
    const expected = packed(
      "PK\x01\x02",
      ...([needed + 0x300, needed, 8, method, 0, DOS_DATE].map((value) => [2, value]) as [2, number][]),
      ...([crc, stored, size].map((value) => [4, value]) as [4, number][]),
      ...([length, extra.length, 0, 0, 0].map((value) => [2, value]) as [2, number][]),
      [4, PERMISSIONS],
      [4, extra.length ? 0xffffffff : offset],
    );
    const found = directory.subarray(position, position + CENTRAL);
    const next = position + CENTRAL + length + extra.length;
    if (!same(found, expected) || !same(directory.subarray(next - extra.length, next), extra)) {
      throw container(name, "its entry in the directory is not what the toolkit writes");
    }
    const data = offset + LOCAL + length;
    return [{ name, method, crc, stored, size, start: offset, data, end: data + stored + DESCRIPTOR }, next];
  }

  private async checkLocal({ name, method, crc, stored, size, start, data }: Member): Promise<void> {
    const short = [20, 8, method, 0, DOS_DATE].map((value) => [2, value]) as [2, number][];
    const header = packed("PK\x03\x04", ...short, [4, 0], [4, 0], [4, 0], [2, name.length], [2, 0]);
    const whole = new Uint8Array([...header, ...utf8(name)]);
    if (!same(await this.at(start, whole.length), whole)) throw container(name, "its header is not what the toolkit writes");
    const after = packed("PK\x07\x08", [4, crc], [4, stored], [4, size]);
    if (!same(await this.at(data + stored, DESCRIPTOR), after)) throw container(name, "its trailer is not what the toolkit writes");
  }

  /** Return the SHA-256 of the member's bytes as they are in the file, header and trailer included. */
  async rawDigest(member: Member): Promise<string> {
    const digest = hasher();
    for (let at = member.start; at < member.end; at += PIECE) digest.update(await this.at(at, Math.min(PIECE, member.end - at)));
    return hex(digest.digest());
  }

  /** Yield a member's contents piece by piece: never more than the directory says, never less. */
  async *stream(name: string): AsyncGenerator<Bytes> {
    const found = this.members.get(name);
    if (!found) throw container(name, "is missing");
    let [total, crc] = [0, 0];
    const digest = hasher();
    const pieces = found.method ? this.inflated(found) : this.pieces(found, PIECE);
    for await (const piece of pieces) {
      total += piece.length;
      if (total > found.size) throw container(name, "is longer than the directory says");
      crc = crc32(piece, crc);
      digest.update(piece);
      yield piece;
    }
    if (total !== found.size || crc !== found.crc) throw container(name, "is not what the directory says");
    this.digests.set(name, hex(digest.digest()));
  }

  /** Return the SHA-256 of a member's contents, which are read if nobody did so before. */
  async digest(name: string): Promise<string> {
    if (!this.digests.has(name)) for await (const _ of this.stream(name));
    return this.digests.get(name)!;
  }

  private async *pieces({ data, stored }: Member, size: number): AsyncGenerator<Bytes> {
    for (let at = data; at < data + stored; at += size) yield await this.at(at, Math.min(size, data + stored - at));
  }

  private async *inflated(member: Member): AsyncGenerator<Bytes> {
    const inflater = new DecompressionStream("deflate-raw");
    const writer = inflater.writable.getWriter();
    const feed = async (): Promise<void> => {
      for await (const piece of this.pieces(member, SIP)) {
        await writer.ready;
        await writer.write(piece);
      }
      await writer.close();
    };
    const fed = feed().catch(() => undefined); // the reader hears of it, too
    const reader = inflater.readable.getReader();
    try {
      for (;;) {
        let step: ReadableStreamReadResult<Uint8Array>;
        try {
          step = await reader.read();
        } catch {
          throw container(member.name, "does not decompress");
        }
        if (step.done) break;
        yield step.value as Bytes;
      }
    } finally {
      // Together: where all was written, Node.js ends the writer only once the reader is.
      await Promise.allSettled([reader.cancel(), writer.abort(), fed]);
    }
  }

  /** Return the contents of a small member. */
  async read(name: string, most: number): Promise<Bytes> {
    const found = this.members.get(name);
    if (!found) throw container(name, "is missing");
    if (found.size > most) throw container(name, `is larger than ${most} bytes`);
    const whole = new Uint8Array(found.size);
    let at = 0;
    for await (const piece of this.stream(name)) {
      whole.set(piece, at);
      at += piece.length;
    }
    return whole;
  }

  /** Yield a member's lines, each without its line feed; the last one ends with one, too. */
  async *lines(name: string): AsyncGenerator<Bytes[]> {
    let tail: Bytes = new Uint8Array(0);
    for await (const piece of this.stream(name)) {
      const lines: Bytes[] = [];
      let start = 0;
      for (let end = piece.indexOf(10); end >= 0; end = piece.indexOf(10, start)) {
        const line = piece.subarray(start, end);
        lines.push(tail.length ? joined(tail, line) : line);
        if (tail.length) tail = new Uint8Array(0);
        start = end + 1;
      }
      tail = joined(tail, piece.subarray(start));
      if (tail.length > LARGEST_LINE) throw container(name, `has a line of more than ${LARGEST_LINE} bytes`);
      if (lines.length) yield lines;
    }
    if (tail.length) throw container(name, "ends in the middle of a line");
  }

  async text(name: string, most: number): Promise<string> {
    return text(await this.read(name, most));
  }
}

function joined(left: Uint8Array, right: Uint8Array): Bytes {
  const whole = new Uint8Array(left.length + right.length);
  whole.set(left);
  whole.set(right, left.length);
  return whole;
}
