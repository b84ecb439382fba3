import { text } from '../strings.js';
import { avatar, make } from './dom.js';

/** People shown by name; the count says how many there are. */
const SHOWN_MAX = 200;
const PAGE = 100;
/** Asked again this long after the gateway said its presence pushes were incomplete, however often it says so. */
const RELOAD_MS = 500;

/** Who is in the room: read once after each join, kept up to date by presence pushes. */
export class Members {
  #list;
  #room = null;
  #me = null;
  #people = new Map();
  #total = 0;
  #reload = null;

  /** @param {HTMLElement} list */
  constructor(list) {
    this.#list = list;
  }

  follow(room, me) {
    this.#room = room;
    this.#me = me;
  }

  clear() {
    clearTimeout(this.#reload);
    this.#reload = null;
    this.#room = null;
    this.#people.clear();
    this.#list.replaceChildren();
  }

  async load() {
    const room = this.#room;
    const found = [];
    try {
      let cursor;
      do {
        const page = await room.members(PAGE, cursor);
        found.push(...page.members);
        cursor = page.cursor;
      } while (cursor && found.length < SHOWN_MAX);
    } catch (error) {
      if (error.retry && error.code !== 'disconnected') this.#load_soon();
      return;
    }
    if (room !== this.#room) return;
    this.#people = new Map(found.map((person) => [person.id, person]));
    this.#render();
  }

  /** A presence push. */
  change({ joined = [], left = [], reset }) {
    for (const person of joined) this.#people.set(person.id, person);
    for (const id of left) this.#people.delete(id);
    if (reset) this.#load_soon();
    this.#render();
  }

  /** How many there are in all, from the counts. */
  total(members) {
    this.#total = members;
    this.#render();
  }

  #load_soon() {
    this.#reload ??= setTimeout(() => {
      this.#reload = null;
      if (this.#room) this.load();
    }, RELOAD_MS);
  }

  #render() {
    const shown = [...this.#people.values()].slice(0, SHOWN_MAX);
    const entries = shown.map((person) => make(
      'li',
      { 'data-testid': 'member', 'data-user-id': person.id },
      avatar(person),
      make(
        'div',
        {},
        make('p', { class: 'name', text: person.name || person.id }),
        make('p', { class: 'user-id', text: person.id === this.#me ? `${person.id} (${text.room.you})` : person.id }),
      ),
    ));
    if (entries.length === 0) entries.push(make('li', { class: 'small', text: text.room.noPeople }));
    else if (this.#total > shown.length) entries.push(make('li', { class: 'small', text: text.room.more(this.#total - shown.length) }));
    this.#list.replaceChildren(...entries);
  }
}
