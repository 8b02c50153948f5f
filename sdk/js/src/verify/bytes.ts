/** Bytes and their spellings, each with one form only. */
import { sha256 } from "@noble/hashes/sha2.js";

export type Bytes = Uint8Array<ArrayBuffer>;

/** Something does not verify: which check, where, and why. */
export class Fault extends Error {
  constructor(
    readonly check: string,
    readonly where: string,
    message: string,
    readonly index: number | null = null,
  ) {
    super(message);
  }
}

/** Bytes or a text that are not what they must be; whoever reads them knows where, and makes a fault of it. */
export class Refused extends Error {}

export function refuse(reason: string): never {
  throw new Refused(reason);
}

const encoder = new TextEncoder();
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export const utf8 = (text: string): Bytes => encoder.encode(text);

/** Return the text of UTF-8 bytes; refuse any others. */
export function text(bytes: Uint8Array): string {
  try {
    return strict.decode(bytes);
  } catch {
    return refuse("not UTF-8");
  }
}

/** Return one character for each byte. */
export function binary(bytes: Uint8Array): string {
  let result = "";
  for (let start = 0; start < bytes.length; start += 8192) result += String.fromCharCode(...bytes.subarray(start, start + 8192));
  return result;
}

/** Return the bytes of a text that has one character for each. */
export function unbinary(characters: string): Bytes {
  const bytes = new Uint8Array(characters.length);
  for (let at = 0; at < bytes.length; at++) bytes[at] = characters.charCodeAt(at);
  return bytes;
}

export const base64 = (bytes: Uint8Array): string => btoa(binary(bytes));

/** Return the bytes of canonical standard base64; refuse any other spelling. */
export function decoded(spelling: string, size?: number): Bytes {
  let bytes: Bytes;
  try {
    bytes = unbinary(atob(spelling));
  } catch {
    return refuse("not canonical base64");
  }
  if (base64(bytes) !== spelling || (size !== undefined && bytes.length !== size)) refuse("not canonical base64");
  return bytes;
}

const DIGITS = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

export function hex(bytes: Uint8Array): string {
  let result = "";
  for (const byte of bytes) result += DIGITS[byte];
  return result;
}

/** Return the bytes of lower-case hexadecimal digits, of which there is an even number. */
export function unhex(digits: string): Bytes {
  const bytes = new Uint8Array(digits.length / 2);
  for (let at = 0; at < bytes.length; at++) bytes[at] = parseInt(digits.slice(2 * at, 2 * at + 2), 16);
  return bytes;
}

export function same(left: Uint8Array, right: Uint8Array): boolean {
  return left.length === right.length && left.every((byte, at) => byte === right[at]);
}

/** SHA-256 over the pieces. WebCrypto's answer comes later, which for three hashes an entry costs more than hashing. */
export function hash(...pieces: Uint8Array[]): Bytes {
  const state = sha256.create();
  for (const piece of pieces) state.update(piece);
  return state.digest() as Bytes;
}

export const hasher = (): ReturnType<typeof sha256.create> => sha256.create();

const CRC = new Uint32Array(256).map((_, byte) => {
  for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? 0xedb88320 ^ (byte >>> 1) : byte >>> 1;
  return byte;
});

/** Continue a CRC-32 over more bytes. */
export function crc32(bytes: Uint8Array, before = 0): number {
  let crc = ~before;
  for (let at = 0; at < bytes.length; at++) crc = CRC[(crc ^ bytes[at]!) & 0xff]! ^ (crc >>> 8);
  return ~crc >>> 0;
}

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
export type Members = { [name: string]: Json };

/** Return what a JSON text says; refuse what is none. */
export function json(source: string): Json {
  try {
    return JSON.parse(source) as Json;
  } catch {
    return refuse("not JSON");
  }
}

/** Return canonical JSON (RFC 8785) of documents whose numbers are integers. */
export function canonical(document: Json): string {
  if (Array.isArray(document)) return `[${document.map(canonical).join(",")}]`;
  if (document === null || typeof document !== "object") return JSON.stringify(document);
  const names = Object.keys(document).sort();
  return `{${names.map((name) => `${JSON.stringify(name)}:${canonical(document[name]!)}`).join(",")}}`;
}

export const AMBIGUOUS = "is not canonical JSON: readers could see different words";

/** Whether a document says the same to every reader: its names are ASCII, its numbers integers, its characters whole. */
function plain(document: Json): boolean {
  if (typeof document === "number") return Number.isSafeInteger(document);
  if (typeof document === "string") return !/\p{Surrogate}/u.test(document);
  if (document === null || typeof document !== "object") return true;
  return Object.entries(document).every(([name, value]) => /^[\x00-\x7f]*$/.test(name) && plain(value));
}

export function isCanonical(data: Bytes): boolean {
  try {
    const document = json(text(data));
    return plain(document) && canonical(document) === text(data);
  } catch {
    return false; // not JSON, not UTF-8, or nested too deeply
  }
}

/** Return the note of a line of checkpoints or certificates; refuse any other spelling. */
export function noted(line: Bytes): Json {
  const note = member(json(text(line)), "note");
  return canonical({ note }) === text(line) ? note : refuse("is not the one spelling of a note");
}

/** Return a member of a document; refuse a document without it. */
export function member(document: Json, name: string): Json {
  if (document === null || typeof document !== "object" || Array.isArray(document)) throw new TypeError("not an object");
  return Object.hasOwn(document, name) ? document[name]! : refuse(`lacks ${name}`);
}

/** Return text that steers nothing: no control characters, no marks that turn the direction of writing. */
export function printable(value: unknown): string {
  return String(value)
    .slice(0, 500)
    .replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (each) => `\\u${each.codePointAt(0)!.toString(16).padStart(4, "0")}`);
}
