/** (6) The Merkle tree (RFC 9162, section 2.1). */
import { type Bytes, hash, refuse, same } from "./bytes.ts";

const LEAF = new Uint8Array([0]);
const NODE = new Uint8Array([1]);

export const leafHash = (leaf: Uint8Array): Bytes => hash(LEAF, leaf);
const node = (left: Bytes, right: Bytes): Bytes => hash(NODE, left, right);

/** The roots of the complete subtrees of a growing tree, one per set bit of its size. */
export class Tree {
  constructor(
    public size = 0,
    private readonly peaks: Bytes[] = [],
  ) {}

  append(leaf: Uint8Array): void {
    let top = leafHash(leaf);
    for (let index = this.size; index % 2 === 1; index = (index - 1) / 2) top = node(this.peaks.pop()!, top);
    this.peaks.push(top);
    this.size++;
  }

  root(): Bytes {
    return this.peaks.length ? this.peaks.reduceRight((right, left) => node(left, right)) : hash();
  }
}

const half = (value: number): number => Math.floor(value / 2);

function climb(position: number, last: number, start: Bytes, steps: Bytes[]): [left: Bytes, whole: Bytes] {
  let [left, whole] = [start, start];
  for (const sibling of steps) {
    if (last === 0) refuse("the proof is too long");
    if (position % 2 === 1 || position === last) {
      [left, whole] = [node(sibling, left), node(sibling, whole)];
      while (position && position % 2 === 0) [position, last] = [half(position), half(last)];
    } else {
      whole = node(whole, sibling);
    }
    [position, last] = [half(position), half(last)];
  }
  if (last !== 0) refuse("the proof is too short");
  return [left, whole];
}

/** Check an inclusion proof (RFC 9162, section 2.1.3.2); refuse a wrong one. */
export function verifyInclusion(index: number, size: number, leaf: Bytes, steps: Bytes[], root: Bytes): void {
  if (!(0 <= index && index < size)) refuse("no such index");
  if (!same(climb(index, size - 1, leaf, steps)[1], root)) refuse("the inclusion proof does not lead to the root");
}

/** Check that the newer tree begins with the whole older one (section 2.1.4.2); refuse a wrong proof. */
export function verifyConsistency(old: Checkpointed, newer: Checkpointed, proof: Bytes[]): void {
  if (old.size > newer.size || ((old.size === 0 || old.size === newer.size) && proof.length)) refuse("a consistency proof between other sizes");
  if (old.size === 0 || old.size === newer.size) {
    const expected = old.size === 0 ? new Tree().root() : newer.root;
    if (!same(old.root, expected) || (old.size === newer.size && !same(old.root, newer.root))) refuse("two different roots of one size");
    return;
  }
  const steps = [...proof];
  let [position, last] = [old.size - 1, newer.size - 1];
  while (position % 2 === 1) [position, last] = [half(position), half(last)];
  if (Number.isInteger(Math.log2(old.size))) steps.unshift(old.root);
  const [first, ...rest] = steps;
  const reached = first && climb(position, last, first, rest);
  if (!reached || !same(reached[0], old.root) || !same(reached[1], newer.root)) refuse("the older tree is not the beginning of the newer one");
}

export interface Checkpointed {
  size: number;
  root: Bytes;
}
