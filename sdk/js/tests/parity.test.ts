import assert from "node:assert/strict";
import { test } from "node:test";

import { readable } from "../src/parity.ts";

test("black on white can be read, in either order", () => {
  assert.ok(readable("rgb(0, 0, 0)", "rgb(255, 255, 255)"));
  assert.ok(readable("rgb(255, 255, 255)", "rgb(0, 0, 0)"));
});

test("the limit is that of WCAG, give or take two steps of grey", () => {
  const white = "rgb(255, 255, 255)";

  assert.ok(readable("rgb(116, 116, 116)", white)); // 4.69
  assert.ok(!readable("rgb(120, 120, 120)", white)); // 4.42
});

test("a colour that cannot be measured cannot be read", () => {
  for (const colour of ["oklch(0.5 0.1 20)", "rgba(0, 0, 0, 0.5)", "color(srgb 0 0 0)", "transparent"]) {
    assert.ok(!readable(colour, "rgb(255, 255, 255)"));
  }
});
