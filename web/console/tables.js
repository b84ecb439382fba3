import { make, say } from '../page/dom.js';
import { words } from './strings.js';

/**
 * A table that is shown anew again and again. While somebody points at it or has the focus in it, it is held: what they are
 * about to press does not move away under their finger. Rows keep their elements, so that the focus stays.
 */
export class Table {
  #columns;
  #key;
  #none;
  #body = make('tbody');
  #under = make('p', { class: 'under' });
  #panel;
  #rows = new Map();
  #pointed = false;

  /**
   * @param {HTMLElement} panel
   * @param {{id: string, label: string, none: string, key: (row: object) => string, columns: {head: string, number?: boolean,
   *   cell?: (row: object) => string | Node, make?: () => Element, fill?: (made: Element, row: object) => void}[]}} about what can
   *   have the focus is made once for each row, and told what the row is by now
   */
  constructor(panel, { id, label, none, key, columns }) {
    this.#columns = columns;
    this.#key = key;
    this.#none = none;
    this.#panel = panel;
    // It scrolls, so the keyboard has to get there.
    for (const [name, value] of Object.entries({ tabindex: 0, role: 'region', 'aria-label': label, 'data-testid': id })) panel.setAttribute(name, value);
    const heads = columns.map(({ head, number }) => make('th', { scope: 'col', class: number && 'number', text: head }));
    panel.append(make('table', {}, make('thead', {}, make('tr', {}, ...heads)), this.#body));
    panel.after(this.#under);
    panel.addEventListener('pointerenter', (event) => { this.#pointed = event.pointerType === 'mouse'; });
    panel.addEventListener('pointerleave', () => { this.#pointed = false; });
  }

  get #held() {
    const focus = document.activeElement;
    return this.#pointed || (focus !== this.#panel && this.#panel.contains(focus));
  }

  /** @param {object[]} rows in order @param {{total?: number, now?: boolean}} [how] `now`: also when it is held */
  show(rows, { total, now = false } = {}) {
    const held = this.#held && !now && this.#rows.size > 0;
    const keys = new Set(rows.map(this.#key));
    for (const [key, { at }] of this.#rows) {
      at.toggleAttribute('data-gone', !keys.has(key));
      for (const button of at.querySelectorAll('button')) button.disabled = !keys.has(key);
    }
    if (held) {
      for (const row of rows) {
        const known = this.#rows.get(this.#key(row));
        if (known) this.#fill(known, row);
      }
    } else {
      this.#lay(rows, keys);
    }
    const count = total === undefined ? '' : words.table.shown(rows.length, total);
    say(this.#under, held ? words.table.held : count);
  }

  #lay(rows, keys) {
    for (const [key, { at }] of this.#rows) {
      if (keys.has(key)) continue;
      at.remove();
      this.#rows.delete(key);
    }
    if (rows.length === 0) {
      if (!this.#body.querySelector('.none')) {
        this.#body.replaceChildren(make('tr', {}, make('td', { class: 'none', colspan: this.#columns.length, text: this.#none })));
      }
      return;
    }
    this.#body.querySelector('.none')?.parentElement.remove();
    rows.forEach((row, place) => {
      const key = this.#key(row);
      if (!this.#rows.has(key)) this.#rows.set(key, this.#make(key));
      const known = this.#rows.get(key);
      this.#fill(known, row);
      // An element that is moved loses the focus: only those that have to.
      if (this.#body.children[place] !== known.at) this.#body.insertBefore(known.at, this.#body.children[place] ?? null);
    });
  }

  #make(key) {
    const cells = this.#columns.map(({ head, number, make: made }) => make('td', { class: number && 'number', 'data-head': head }, ...(made ? [made()] : [])));
    return { at: make('tr', { 'data-testid': 'row', 'data-key': key }, ...cells), cells };
  }

  #fill({ cells }, row) {
    this.#columns.forEach(({ cell, fill }, at) => {
      if (fill) {
        fill(cells[at].firstChild, row);
        return;
      }
      const content = cell(row);
      if (typeof content === 'string') say(cells[at], content);
      else if (!cells[at].firstChild?.isEqualNode(content)) cells[at].replaceChildren(content);
    });
  }
}
