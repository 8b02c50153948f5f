import assert from "node:assert/strict";
import { test } from "node:test";

import { contrast } from "../src/parity.ts";

test("contrast is 21 between black and white, in either order", () => {
  assert.equal(Math.round(contrast("rgb(0, 0, 0)", "rgb(255, 255, 255)")), 21);
  assert.equal(Math.round(contrast("rgb(255, 255, 255)", "rgb(0, 0, 0)")), 21);
});

test("contrast is within a tenth of the WCAG figure for greys around the limit", () => {
  assert.ok(Math.abs(contrast("rgb(118, 118, 118)", "rgb(255, 255, 255)") - 4.54) < 0.1);
});

test("a colour that cannot be measured counts as no contrast", () => {
  for (const colour of ["oklch(0.5 0.1 20)", "rgba(0, 0, 0, 0.5)", "color(srgb 0 0 0)", "transparent"]) {
    assert.equal(contrast(colour, "rgb(255, 255, 255)"), 0);
  }
});
