import { tag } from '../strings.js';

/** Samples of the overview that are kept: five minutes of them. */
const SAMPLES_MAX = 150;
/** Rates and latencies are of the time that so many samples cover. */
const WINDOW = 5;

const whole = new Intl.NumberFormat(tag);
const short = new Intl.NumberFormat(tag, { maximumFractionDigits: 1 });
const percents = new Intl.NumberFormat(tag, { style: 'percent', maximumFractionDigits: 0 });

export const number = (n) => whole.format(n);
export const decimal = (n) => short.format(n);
export const percent = (share) => percents.format(share);

/** `1.5 MiB`. @param {number} bytes */
export function size(bytes) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let at = 0;
  let left = bytes;
  for (; left >= 1024 && at < units.length - 1; at += 1) left /= 1024;
  return `${short.format(left)} ${units[at]}`;
}

/** The largest unit that fits, and the next. @param {number} ms */
export function span(ms) {
  const units = [['day', 86_400], ['hour', 3_600], ['minute', 60], ['second', 1]];
  let left = Math.floor(Math.max(0, ms) / 1_000);
  const first = units.findIndex(([, seconds]) => left >= seconds);
  const parts = units.slice(first < 0 ? 3 : first, first < 0 ? 4 : first + 2).map(([unit, seconds]) => {
    const n = Math.floor(left / seconds);
    left -= n * seconds;
    return { n, text: new Intl.NumberFormat(tag, { style: 'unit', unit, unitDisplay: 'narrow' }).format(n) };
  });
  return parts.filter(({ n }, at) => at === 0 || n > 0).map(({ text }) => text).join(' ');
}

export const millis = (ms) => new Intl.NumberFormat(tag, { style: 'unit', unit: 'millisecond', unitDisplay: 'short' }).format(ms);
export const clock = (ms) => new Intl.DateTimeFormat(tag, { timeStyle: 'medium' }).format(ms);

/** What the overview said over the last minutes, and what follows from how it changed. */
export class History {
  #samples = [];

  /** @param {object} overview */
  add(overview) {
    const last = this.#samples.at(-1);
    // Another process has taken the place of the one there was: its totals begin anew.
    if (last && overview.uptime_ms < last.uptime_ms) this.#samples = [];
    this.#samples.push(overview);
    if (this.#samples.length > SAMPLES_MAX) this.#samples.shift();
  }

  get newest() {
    return this.#samples.at(-1);
  }

  /** One value for each sample. @param {(overview: object) => number} of @returns {number[]} */
  values(of) {
    return this.#samples.map(of);
  }

  /** How fast a total rose, per second; `null` where there is nothing to compare with. @returns {(number | null)[]} */
  rates(of) {
    return this.#pairs((from, to) => {
      const seconds = (to.now_ms - from.now_ms) / 1_000;
      return seconds > 0 ? (of(to) - of(from)) / seconds : null;
    });
  }

  /** The bound that `share` of what was measured lately kept to, ms; `null` where nothing was. @returns {(number | null)[]} */
  quantiles(of, share) {
    return this.#pairs((from, to) => {
      const counts = of(to).counts.map((n, at) => n - of(from).counts[at]);
      return quantile(of(to).bounds_ms, counts, share);
    });
  }

  #pairs(compare) {
    return this.#samples.map((to, at) => (at === 0 ? null : compare(this.#samples[Math.max(0, at - WINDOW)], to)));
  }
}

/** @param {number[]} bounds @param {number[]} counts one more than bounds @param {number} share 0 to 1 @returns {number | null} */
export function quantile(bounds, counts, share) {
  const all = counts.reduce((sum, n) => sum + n, 0);
  if (all <= 0) return null;
  let seen = 0;
  const at = counts.findIndex((n) => {
    seen += n;
    return seen >= all * share;
  });
  // Beyond the last bound nothing more is known.
  return bounds[Math.min(at, bounds.length - 1)];
}
