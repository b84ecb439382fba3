import assert from 'node:assert/strict';

/** Nothing sticks out to the side. */
export async function fits(tab, where) {
  const { page, inner } = await tab.page.evaluate(() => ({ page: document.documentElement.scrollWidth, inner: innerWidth }));
  assert.ok(page <= inner, `${where}: ${page} px wide in ${inner}`);
}

/** Every text that can be seen, with less contrast to what is behind it than WCAG 2.2 AA asks for. */
export const faint = (tab) => tab.page.evaluate(() => {
  const parts = (color) => color.match(/[\d.]+/g).map(Number);
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const seen = (...layers) => {
    for (const layer of layers) {
      canvas.fillStyle = layer;
      canvas.fillRect(0, 0, 1, 1);
    }
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = ([red, green, blue]) => {
    const [r, g, b] = [red, green, blue].map((value) => (value <= 10.31 ? value / 3294.6 : ((value / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = [];
  for (const at of document.querySelectorAll('body *')) {
    const words = [...at.childNodes].filter(({ nodeType }) => nodeType === 3).map(({ data }) => data.trim()).join('');
    if (!words || !at.checkVisibility({ visibilityProperty: true, opacityProperty: true }) || at.closest('.sr-only, noscript, :disabled')) continue;
    const behind = [];
    for (let up = at; up; up = up.parentElement) behind.unshift(getComputedStyle(up).backgroundColor);
    const style = getComputedStyle(at);
    const [ink, ground] = [light(seen(...behind, at instanceof SVGElement ? style.fill : style.color)), light(seen(...behind))];
    const contrast = (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05);
    const large = parts(style.fontSize)[0] >= 24 || (parts(style.fontSize)[0] >= 18.66 && Number(style.fontWeight) >= 700);
    if (contrast < (large ? 3 : 4.5)) found.push(`${contrast.toFixed(2)} ${words}`);
  }
  return found;
});

/** Writes down every layout shift from now on that nobody's click or key explains. */
export async function watch_shifts(tab) {
  await tab.page.evaluate(() => {
    window.shifts = [];
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) {
        const moved = entry.sources.map(({ node }) => node?.id || node?.className || node?.nodeName);
        const where = entry.sources.map(({ previousRect: a, currentRect: b }) => `${a.x},${a.y} ${a.width}×${a.height} → ${b.x},${b.y} ${b.width}×${b.height}`);
        if (!entry.hadRecentInput) window.shifts.push({ value: entry.value, moved, where });
      }
    }).observe({ type: 'layout-shift' });
  });
  return () => tab.page.evaluate(() => new Promise((resolve) => {
    requestAnimationFrame(() => requestAnimationFrame(() => resolve(window.shifts)));
  }));
}
