/**
 * The charts of a report that are shown, as drawn: their lines with values and extent, how large their letters are on
 * the screen, which labels stick out of the drawing or stand on each other, and which lines are hard to see.
 */
export const charts = (tab) => tab.page.evaluate(() => {
  const light = (color) => {
    const [r, g, b] = color.match(/[\d.]+/g).slice(0, 3).map((v) => (v <= 10.31 ? v / 3294.6 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = light(getComputedStyle(document.body).backgroundColor);
  const contrast = (color) => (Math.max(light(color), ground) + 0.05) / (Math.min(light(color), ground) + 0.05);
  const shown = [...document.querySelectorAll('svg.chart')].filter((svg) => svg.checkVisibility());
  return shown.map((svg) => {
    const frame = svg.getBoundingClientRect();
    const inside = (at) => at.left >= frame.left - 1 && at.right <= frame.right + 1 && at.top >= frame.top - 1 && at.bottom <= frame.bottom + 1;
    const labels = [...svg.querySelectorAll('text')].map((text) => ({ text: text.textContent, at: text.getBoundingClientRect() }));
    const apart = (a, b) => a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top;
    return {
      title: svg.getAttribute('aria-label'),
      lines: [...svg.querySelectorAll('path.line')].map((path) => ({
        name: path.dataset.name,
        x: path.dataset.x.split(' ').map(Number),
        y: path.dataset.y.split(' '),
        length: path.getTotalLength(),
        inside: inside(path.getBoundingClientRect()),
        contrast: contrast(getComputedStyle(path).stroke),
      })),
      spans: [...svg.querySelectorAll('rect.span')].map((rect) => ({ reference: rect.classList.contains('reference'), width: rect.getBoundingClientRect().width })),
      legend: [...svg.closest('figure').querySelectorAll('.legend li')].map((item) => item.textContent),
      letters: Math.min(...[...svg.querySelectorAll('text')].map((text) => parseFloat(getComputedStyle(text).fontSize) * svg.getScreenCTM().a)),
      outside: labels.filter(({ at }) => !inside(at)).map(({ text }) => text),
      collisions: labels.flatMap((a, i) => labels.slice(i + 1).filter((b) => !apart(a.at, b.at)).map((b) => `${a.text} / ${b.text}`)),
    };
  });
});

/** A figure as charts write it: three or four digits, thousands as k, M and G. */
export function figure(text) {
  return parseFloat(text) * ({ k: 1e3, M: 1e6, G: 1e9 }[text.at(-1)] ?? 1);
}
