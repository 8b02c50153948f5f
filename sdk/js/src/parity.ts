/** The run-time half of the honesty rules: a theme that makes the two answers differ, or unreadable, is not used. */

const light = (colour: string): number =>
  colour.match(/[\d.]+/g)!.reduce((sum, part, i) => sum + [0.2126, 0.7152, 0.0722][i]! * (+part / 255) ** 2.2, 0.05);

/** The contrast of two computed `rgb()` colours (WCAG 2.2, with a plain gamma of 2.2); 0 for any other notation. */
export const contrast = (one: string, other: string): number => {
  if (!/^rgb\(.*\)rgb\(/.test(one + other)) return 0;
  const ratio = light(one) / light(other);
  return Math.max(ratio, 1 / ratio);
};

/** Whether these buttons look the same, are the same size, and can be read. */
export const honest = (buttons: HTMLElement[]): boolean => {
  const [first, ...others] = buttons.map((button) => {
    const { backgroundColor, color, font } = getComputedStyle(button);
    return [contrast(color, backgroundColor) >= 4.5, button.offsetWidth, button.offsetHeight, color, backgroundColor, font] + "";
  });
  return /^t/.test(first!) && others.every((other) => other == first);
};
