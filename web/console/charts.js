import { make, say } from '../page/dom.js';
import { words } from './strings.js';

const SVG = 'http://www.w3.org/2000/svg';
const [WIDTH, HEIGHT] = [300, 100];
/** Points across, at least: the first few do not fill a chart that is of minutes. */
const ACROSS = 30;

/** An SVG element. Attributes only: the page's policy allows no style of its own. */
export function draw(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

/** Lines over the last minutes, newest at the right, from 0 to the highest of them. What they say stands below in words. */
export class Chart {
  #lines;
  #form;
  #svg = draw('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img' });
  #most = make('span', { class: 'most' });
  #title;

  /**
   * @param {string} id
   * @param {string} title
   * @param {string[]} names of the lines
   * @param {(value: number) => string} form how a value is written
   */
  constructor(id, title, names, form) {
    this.#title = title;
    this.#form = form;
    this.#lines = names.map((name, at) => ({
      name,
      line: draw('g', { class: `line-${at}` }),
      legend: make('li', { class: `line-${at}` }),
    }));
    this.#svg.append(...this.#lines.map(({ line }) => line));
    this.root = make('figure', { class: 'chart', 'data-testid': `chart-${id}` },
      make('figcaption', {}, make('h2', { text: title }), this.#most), this.#svg, make('ul', { class: 'legend' }, ...this.#lines.map(({ legend }) => legend)));
  }

  /** @param {(number | null)[][]} all values of each line, oldest first; `null` is a hole */
  show(all) {
    const known = all.flat().filter((value) => value !== null);
    const most = Math.max(0, ...known);
    say(this.#most, words.charts.most(known.length > 0 ? this.#form(most) : words.charts.nothing));
    this.#lines.forEach(({ name, line, legend }, at) => {
      const values = all[at];
      line.replaceChildren(...runs(values).map((run) => draw('polyline', { class: `line-${at}`, points: points(run, values.length, most) })));
      const last = values.at(-1) ?? null;
      say(legend, words.charts.now(name, last === null ? words.charts.nothing : this.#form(last)));
    });
    this.#svg.setAttribute('aria-label', [this.#title, ...this.#lines.map(({ legend }) => legend.textContent)].join('. '));
  }
}

/** Runs of values without a hole, with where they stand. @returns {[number, number][][]} */
function runs(values) {
  const found = [[]];
  values.forEach((value, at) => {
    if (value === null) found.push([]);
    else found.at(-1).push([at, value]);
  });
  return found.filter((run) => run.length > 0);
}

function points(run, length, most) {
  const place = ([at, value]) => {
    const x = WIDTH * (1 - (length - 1 - at) / (Math.max(ACROSS, length) - 1));
    const y = HEIGHT - 2 - (HEIGHT - 6) * (most > 0 ? value / most : 0);
    return `${x.toFixed(1)},${y.toFixed(1)}`;
  };
  // One value alone is a dot that can be seen.
  const drawn = run.length > 1 ? run : [run[0], [run[0][0] + 0.5, run[0][1]]];
  return drawn.map(place).join(' ');
}

/** A bar from 0 to 1. */
export function bar(share) {
  const width = (100 * Math.min(1, Math.max(0, share))).toFixed(1);
  const svg = draw('svg', { viewBox: '0 0 100 10', preserveAspectRatio: 'none', 'aria-hidden': 'true' });
  svg.append(draw('rect', { x: 0, y: 0, width, height: 10 }));
  return svg;
}
