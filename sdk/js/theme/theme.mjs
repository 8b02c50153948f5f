/**
 * What a theme may say, and the style sheet it becomes.
 *
 * {"light": {"surface": "#ffffff", "text": "#111111", "fill": "#eeeeee", "label": "#111111", "edge": "#555555"},
 *  "dark": {…}, "radius": "0.25rem", "font": "1rem/1.5 Georgia, serif"}
 */

const COLOURS = ["surface", "text", "fill", "label", "edge"];
const OWN = {
  light: { surface: "#ffffff", text: "#1b1f27", fill: "#f1f3f6", edge: "#667085" },
  dark: { surface: "#191c22", text: "#eceef2", fill: "#2a2f39", edge: "#8d96a8" },
};

const light = (colour) =>
  [1, 3, 5]
    .map((at) => parseInt(colour.slice(at, at + 2), 16) / 255)
    .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
    .reduce((sum, part, i) => sum + [0.2126, 0.7152, 0.0722][i] * part, 0.05);

const contrast = (one, other) => {
  const ratio = light(one) / light(other);
  return Math.max(ratio, 1 / ratio);
};

/** Everything that is wrong with a theme, in sentences. */
export const problems = (theme) => {
  const found = [];
  for (const name of Object.keys(theme)) {
    if (!["light", "dark", "radius", "font"].includes(name)) found.push(`${name}: is no part of a theme`);
  }
  if (theme.radius && !/^\d*\.?\d+(rem|px|em)$/.test(theme.radius)) found.push("radius: must be a length such as 0.5rem");
  if (theme.font && !/^[\w\s.,/'"%-]+$/.test(theme.font)) found.push("font: must be a CSS font shorthand");
  for (const scheme of ["light", "dark"]) {
    const given = theme[scheme] || {};
    for (const [name, colour] of Object.entries(given)) {
      if (!COLOURS.includes(name)) found.push(`${scheme}.${name}: is no token; every button has the same: ${COLOURS.join(", ")}`);
      else if (!/^#[0-9a-f]{6}$/i.test(colour)) found.push(`${scheme}.${name}: must be a colour such as #1b1f27`);
    }
    if (found.length) continue;
    const tokens = { ...OWN[scheme], ...given };
    tokens.label = given.label || tokens.text;
    for (const [front, back, least] of [["text", "surface", 4.5], ["label", "fill", 4.5], ["edge", "surface", 3]]) {
      const ratio = contrast(tokens[front], tokens[back]);
      if (ratio < least) found.push(`${scheme}: ${front} on ${back} has a contrast of ${ratio.toFixed(2)}, at least ${least} is needed`);
    }
  }
  return found;
};

/** The style sheet of a theme that has no problems. */
export const sheet = (theme) => {
  const rows = COLOURS.filter((name) => theme.light?.[name] || theme.dark?.[name]).map((name) => {
    const of = (scheme) => theme[scheme]?.[name] || OWN[scheme][name] || theme[scheme]?.text || OWN[scheme].text;
    return `  --consent-${name}: light-dark(${of("light")}, ${of("dark")});`;
  });
  if (theme.radius) rows.push(`  --consent-radius: ${theme.radius};`);
  if (theme.font) rows.push(`  --consent-font: ${theme.font};`);
  return `:root {\n${rows.join("\n")}\n}\n`;
};
