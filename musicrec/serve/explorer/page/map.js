// The map of all songs: a picture to pan and zoom, in which one finds songs by pointing. Search finds them by name.

import { flatPainter, glPainter } from "./map_painters.js";
import { NOWHERE, grid, unpack } from "./map_points.js";
import { View, listen } from "./map_view.js";

// Told apart by people who do not see all colours, on light and on dark; the last two are other genres, and none.
const LIGHT = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#9a8c00", "#882255", "#111111", "#6a4fb3", "#8a8a8a", "#b5b5b5"];
const DARK = ["#4a9fe0", "#e69f00", "#1fc795", "#e08fbf", "#8fd3ff", "#f0732e", "#f0e442", "#d05a8f", "#ffffff", "#a48cf0", "#909090", "#606060"];
const FILTERS = [["hubs", 1], ["in no list", 2], ["duplicates", 4]]; // and their flags
const NEAR = 10; // pixels from the pointer in which a song is found
const HOW = "Similar songs lie near each other. Arrow keys move the map, plus and minus zoom, 0 shows all, Enter chooses the song in the middle. Search finds a song by its name.";

const dark = matchMedia("(prefers-color-scheme: dark)");
const address = (path) => new URL(`../${path}`, import.meta.url);
const colours = () => (dark.matches ? DARK : LIGHT);

function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Draw the map into a section of the page, and show it; without a map, say which command draws one. */
export async function start(section) {
  const answer = await fetch(address("map"));
  section.hidden = false;
  if (answer.ok) new SongMap(section, unpack(await answer.arrayBuffer()));
  else section.append(make("p", { class: "quiet" }, (await answer.json()).error));
}

class SongMap {
  constructor(section, data) {
    this.data = data;
    this.find = grid(data);
    this.songs = new Map(); // by row
    this.kinds = -1; // genres that are shown, one in each bit
    this.asked = 0; // flags of which a song must have one to be shown; 0: all songs are shown
    this.marked = []; // the chosen song, and those near it
    this.view = new View(data, () => this.redraw());
    this.canvas = make("canvas", { tabindex: 0, role: "img", "aria-label": `Map of ${data.count(() => true).toLocaleString("en")} songs. ${HOW}` });
    this.tip = make("div", { class: "map-tip" });
    this.tip.hidden = true;
    this.said = make("p", { class: "quiet", "aria-live": "polite", dir: "auto" });
    this.box = make("div", { class: "map-box" }, this.canvas, this.tip, this.zoomButtons());
    section.append(make("link", { rel: "stylesheet", href: new URL("map.css", import.meta.url) }), this.box, this.legend(), this.filters(), this.left(), this.said);
    this.paint = glPainter(this.canvas, data) ?? flatPainter(this.canvas, data);
    this.listen();
  }

  listen() {
    listen(this.canvas, this.view, { hover: (event) => this.hover(event), choose: (event) => this.choose(this.under(event)), middle: () => this.chooseMiddle() });
    document.addEventListener("song-chosen", ({ detail }) => this.show(detail.id));
    dark.addEventListener("change", () => this.redraw());
    this.canvas.addEventListener("webglcontextlost", () => this.withoutGl());
    new ResizeObserver(() => this.view.fit(this.canvas, this.box)).observe(this.box);
  }

  // --- drawing ---------------------------------------------------------------------------------------------------------

  isShown = (row) => (this.kinds >> this.data.genre[row] & 1) === 1 && (!this.asked || (this.data.flags[row] & this.asked) !== 0);

  redraw() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = undefined;
      const { view, kinds, asked, marked, isShown } = this;
      this.paint({ view, kinds, asked, marked, isShown, colours: colours(), ink: dark.matches ? "#ffffff" : "#000000" });
    });
  }

  /** Go on without WebGL once the browser has taken it away: its canvas can be used for nothing else. */
  withoutGl() {
    const canvas = this.canvas.cloneNode();
    this.canvas.replaceWith(canvas);
    this.canvas = canvas;
    this.paint = flatPainter(canvas, this.data);
    listen(canvas, this.view, { hover: (event) => this.hover(event), choose: (event) => this.choose(this.under(event)), middle: () => this.chooseMiddle() });
    this.view.fit(canvas, this.box);
  }

  // --- songs -----------------------------------------------------------------------------------------------------------

  under = (event) => this.find(...this.view.at(event), this.view.length(NEAR), this.isShown);

  /** Ask for a song by its row or its id. */
  async named(what) {
    if (this.songs.has(what.rows)) return this.songs.get(what.rows);
    const answer = await fetch(address(`map/songs?${new URLSearchParams({ version: this.data.version, ...what })}`));
    if (answer.status === 409) location.reload(); // there are newer lists, in which rows are other songs; the address keeps the song
    const [song] = answer.ok ? await answer.json() : [];
    if (song) this.songs.set(song.row, song);
    return song;
  }

  async choose(row) {
    const song = row < 0 ? undefined : await this.named({ rows: row });
    if (song) document.dispatchEvent(new CustomEvent("song-chosen", { detail: { id: song.track_id } }));
  }

  chooseMiddle = () => this.choose(this.find(this.view.x, this.view.y, this.data.extent, this.isShown));

  async show(id) {
    const song = await this.named({ id }), { xy } = this.data, isThere = (row) => xy[2 * row] !== NOWHERE;
    this.marked = song && isThere(song.row) ? [song.row, ...song.similar.filter(isThere)] : [];
    this.said.textContent = this.marked.length ? `On the map: ${[song.artist, song.title || song.track_id].filter(Boolean).join(" – ")}` : "";
    if (this.marked.length) this.view.reach(...xy.subarray(2 * song.row, 2 * song.row + 2));
    this.redraw();
  }

  hover(event) {
    const row = event ? this.under(event) : -1;
    if (row === this.hovered) return;
    this.hovered = row;
    this.tip.hidden = true;
    this.canvas.style.cursor = row < 0 ? "" : "pointer";
    clearTimeout(this.waiting);
    if (row >= 0) this.waiting = setTimeout(() => this.showTip(row, event), this.songs.has(row) ? 0 : 50);
  }

  async showTip(row, event) {
    const song = await this.named({ rows: row });
    if (!song || row !== this.hovered) return;
    const { tip, box } = this, { left, top } = box.getBoundingClientRect();
    tip.replaceChildren(...[song.title || song.track_id, song.artist].filter(Boolean).map((text) => make("div", { dir: "auto" }, text)));
    tip.hidden = false;
    const across = event.clientX - left + 12, down = event.clientY - top + 16;
    tip.style.left = `${Math.max(4, Math.min(across, box.clientWidth - tip.offsetWidth - 4))}px`;
    tip.style.top = `${down + tip.offsetHeight > box.clientHeight ? down - tip.offsetHeight - 24 : down}px`;
  }

  // --- buttons ---------------------------------------------------------------------------------------------------------

  zoomButtons() {
    const { view } = this, signs = [["+", "Zoom in", () => view.zoom(1.5)], ["−", "Zoom out", () => view.zoom(1 / 1.5)], ["⌂", "Show all", () => view.home()]];
    return make("div", { class: "map-zoom" }, ...signs.map(([sign, name, act]) => button({ "aria-label": name, title: name }, act, sign)));
  }

  legend() {
    const swatches = [], paint = () => swatches.forEach(([swatch, code]) => { swatch.style.background = colours()[code]; });
    const genres = this.data.genres.flatMap(({ name }, code) => {
      const songs = this.data.count((row) => this.data.genre[row] === code);
      if (!songs) return [];
      const swatch = make("i");
      swatches.push([swatch, code]);
      return [this.toggle("kinds", 1 << code, { dir: "auto" }, swatch, `${name} ${songs.toLocaleString("en")}`)];
    });
    dark.addEventListener("change", paint);
    paint();
    return make("div", { class: "map-keys", role: "group", "aria-label": "Genres on the map" }, ...genres);
  }

  filters() {
    const { flags, count } = this.data;
    const found = FILTERS.map(([name, flag]) => [name, flag, count((row) => flags[row] & flag)]).filter(([, , n]) => n);
    return make("div", { class: "map-keys only", role: "group", "aria-label": "Show only" },
      ...found.map(([name, flag, n]) => this.toggle("asked", flag, {}, `only ${name}: ${n.toLocaleString("en")}`)));
  }

  /** Say how many songs have no place yet: lists are published before the map is. */
  left() {
    const n = this.data.n - this.data.count(() => true), text = `${n.toLocaleString("en")} ${n === 1 ? "song is" : "songs are"} not on the map; musicrec map OUT adds ${n === 1 ? "it" : "them"}.`;
    return n ? make("p", { class: "quiet" }, text) : "";
  }

  toggle(which, bit, attributes, ...content) {
    const made = button({ ...attributes, "aria-pressed": (this[which] & bit) !== 0 }, () => {
      this[which] ^= bit;
      made.setAttribute("aria-pressed", (this[which] & bit) !== 0);
      this.redraw();
    }, ...content);
    return made;
  }
}

function button(attributes, act, ...content) {
  const made = make("button", { type: "button", ...attributes }, ...content);
  made.addEventListener("click", act);
  return made;
}
