// Songs that somebody has put on the list, or likes. They stay in this browser, those of each collection apart.

import { icon, make, say, shortNameOf } from "./dom.js";

class Kept extends EventTarget {
  constructor(key, most, icons, words) {
    super();
    Object.assign(this, { key, most, icons, words, place: null, songs: [] });
  }

  /** Take up what is kept of a collection; another may have been explored at the same address. */
  open(collection) {
    this.place = `${this.key} ${collection}`;
    this.songs = kept(this.place).slice(0, this.most);
    this.tell();
  }

  has(song) {
    return this.songs.some((other) => other.track_id === song.track_id);
  }

  toggle(song) {
    if (!this.has(song) && this.songs.length === this.most) {
      say(this.words.full);
      return;
    }
    const { track_id, title, artist, genre } = song;
    this.set(this.has(song) ? this.songs.filter((other) => other.track_id !== track_id) : [...this.songs, { track_id, title, artist, genre }]);
    say(`${shortNameOf(song)} ${this.has(song) ? this.words.in : this.words.out}`);
  }

  set(songs) {
    this.songs = songs;
    try {
      localStorage.setItem(this.place, JSON.stringify(songs));
    } catch {
      // then they stay as long as the page
    }
    this.tell();
  }

  tell() {
    document.querySelectorAll(`button.${this.key}`).forEach((button) => this.draw(button));
    this.dispatchEvent(new Event("change"));
  }

  /** Make a button that puts a song in, or takes it out. */
  button(song) {
    const button = make("button", { type: "button", class: `round ${this.key}`, onclick: () => this.toggle(song) });
    button.song = song;
    this.draw(button);
    return button;
  }

  draw(button) {
    const isIn = this.has(button.song);
    button.setAttribute("aria-pressed", String(isIn));
    button.setAttribute("aria-label", `${this.words.do} ${shortNameOf(button.song)}`);
    button.title = this.words.do.replace(":", "");
    button.replaceChildren(icon(this.icons[Number(isIn)]));
  }
}

function kept(place) {
  try {
    return JSON.parse(localStorage.getItem(place)).filter((song) => typeof song.track_id === "string");
  } catch {
    return []; // none is kept, or the browser keeps nothing, or what it keeps is something else
  }
}

export const list = new Kept("list", 5000, ["add", "added"], {
  do: "Put on your list:", in: "is on your list", out: "is off your list", full: "The list is full.",
});
export const likes = new Kept("likes", 5, ["like", "liked"], {
  do: "Like:", in: "is liked", out: "is no longer liked", full: "Five songs are liked already; take one away first.",
});
