import assert from "node:assert/strict";
import { test } from "node:test";

// @ts-expect-error the theme builder is plain JavaScript, for shops without TypeScript
import { problems, sheet } from "../theme/theme.mjs";

test("a readable theme becomes one set of tokens for every button", () => {
  const theme = { light: { fill: "#004d40", label: "#ffffff" }, dark: { fill: "#80cbc4", label: "#002b24" }, radius: "0.25rem" };

  assert.deepEqual(problems(theme), []);
  assert.match(sheet(theme), /--consent-fill: light-dark\(#004d40, #80cbc4\);/);
  assert.match(sheet(theme), /--consent-radius: 0.25rem;/);
});

test("a theme cannot name one button", () => {
  for (const name of ["accept", "accept-fill", "refuse", "primary"]) {
    assert.match(problems({ light: { [name]: "#000000" } })[0], /is no token/);
  }
});

test("a theme whose words cannot be read is refused with the figure", () => {
  assert.match(problems({ light: { fill: "#777777", label: "#888888" } })[0], /label on fill has a contrast of 1\.\d\d, at least 4\.5/);
  assert.match(problems({ dark: { surface: "#101010", text: "#202020" } })[0], /dark: text on surface/);
  assert.match(problems({ light: { edge: "#eeeeee" } })[0], /edge on surface/);
});

test("a token that would bring other style sheets in is refused", () => {
  assert.match(problems({ font: "1rem a;} * {display:none" })[0], /font/);
  assert.match(problems({ light: { text: "url(https://x)" } })[0], /must be a colour/);
});
