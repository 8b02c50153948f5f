/** The run-time half of the honesty rules: a theme that makes the two answers differ, or unreadable, is not used. */

const light = (colour: string): number =>
  colour.match(/[\d.]+/g)!.reduce((sum, part, i) => sum + [0.2126, 0.7152, 0.0722][i]! * (+part / 255) ** 2.2, 0.05);

/** Whether two computed `rgb()` colours have a contrast of 4.5 (WCAG 2.2, with a plain gamma of 2.2): e to the 1.504. */
export const readable = (one: string, other: string): boolean =>
  /^rgb\(.*\)rgb\(/.test(one + other) && Math.abs(Math.log(light(one) / light(other))) >= 1.504;

/** Whether these buttons look the same, are the same size, and can be read. */
export const honest = (buttons: HTMLElement[]): boolean => {
  const [first, ...others] = buttons.map((button) => {
    const { backgroundColor, color, font } = getComputedStyle(button);
    return [readable(color, backgroundColor), button.offsetWidth, button.offsetHeight, color, backgroundColor, font] + "";
  });
  return /^t/.test(first!) && others.every((other) => other == first);
};
