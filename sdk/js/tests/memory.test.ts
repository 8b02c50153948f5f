import assert from "node:assert/strict";
import { test } from "node:test";

import type { Said } from "../src/memory.ts";

// The modules read the page they stand on.
const page: Record<string, unknown> = { document: { currentScript: { dataset: {}, src: "https://consent.shop/banner.js" } } };
Object.assign(globalThis, page);
const { decode, encode, keep, store } = await import("../src/memory.ts");
const { base } = await import("../src/page.ts");

test("a cookie gives back what was said", () => {
  const said: Said = { recommendations: [1, 1, 20778], "a.b-c_d": [12, 0, 20001] };

  const back = decode(encode(said));
  assert.deepEqual(Object.fromEntries(Object.entries(back).map(([key, numbers]) => [key, numbers.map(Number)])), said);
});

test("four purposes fit a cookie of 200 bytes", () => {
  const said: Said = { recommendations: [1, 1, 20778], coupons: [1, 0, 20778], support_context: [1, 1, 20778], ai_assistance: [1, 0, 20778] };

  assert.ok(("eu-consent=" + encode(said)).length <= 200);
});

test("a cookie of somebody else's making says nothing", () => {
  for (const value of ["", "yes", "~~~", "coupons:1", ":::", "%7B%22a%22%3A1%7D"]) {
    assert.deepEqual(Object.keys(decode(value)).filter(Boolean), []);
  }
});

test("without local storage this page's memory keeps what waits", () => {
  keep({ handle: "h" });
  keep({ queue: [{ id: "1", body: { choices: {}, gpc: false } }] });

  assert.equal(store().handle, "h");
  assert.equal(store().queue.length, 1);
});

test("the service is where the script came from", () => {
  assert.equal(base, "https://consent.shop");
});
