// Search as you type: a combobox whose list is moved through by the arrow keys.

import { choose } from "./choice.js";
import { at, make, nameOf, plural, say } from "./dom.js";
import { read } from "./service.js";

const MOST = 12;
const PAUSE_MS = 70; // while somebody types

const [words, found] = [at("words"), at("found")];
let [songs, active, waiting, asking] = [[], -1, 0, null];

words.addEventListener("input", () => {
  clearTimeout(waiting);
  waiting = setTimeout(search, PAUSE_MS);
});
words.addEventListener("focus", () => songs.length && open(true));
words.addEventListener("blur", () => setTimeout(() => open(false), 150)); // a click on a song comes first
words.addEventListener("keydown", (event) => {
  const move = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (move && songs.length) {
    event.preventDefault();
    open(true);
    activate((active + move + songs.length) % songs.length);
  } else if (event.key === "Escape") {
    open(false);
  }
});
at("search").addEventListener("submit", async (event) => {
  event.preventDefault();
  clearTimeout(waiting);
  if (active < 0) await search();
  if (songs.length) pick(songs[Math.max(active, 0)]);
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.target.matches("input, select, textarea")) return;
  event.preventDefault();
  words.focus();
  words.select();
});

async function search() {
  asking?.abort();
  asking = new AbortController();
  const text = words.value.trim();
  try {
    songs = text ? await read(`songs?${new URLSearchParams({ q: text, n: MOST })}`, { signal: asking.signal }) : [];
  } catch (error) {
    if (error.name === "AbortError") return;
    songs = [];
    say(error.message);
  }
  show(text);
}

function show(text) {
  active = -1;
  words.removeAttribute("aria-activedescendant");
  found.replaceChildren(...songs.map(option));
  if (text && !songs.length) found.append(make("li", { role: "option", "aria-disabled": "true", class: "none" }, "No song has these words"));
  open(Boolean(text));
  if (text) say(songs.length === MOST ? `The first ${MOST} songs` : plural(songs.length, "song", "songs"));
}

function option(song, i) {
  return make(
    "li",
    { role: "option", id: `found-${i}`, "aria-selected": "false", onmousedown: (event) => event.preventDefault(), onclick: () => pick(song) },
    make("span", { class: "name", dir: "auto" }, nameOf(song)),
    make("span", { class: "by", dir: "auto" }, [song.artist, song.genre].filter(Boolean).join(" · ")),
  );
}

function activate(i) {
  found.children[active]?.setAttribute("aria-selected", "false");
  active = i;
  found.children[active].setAttribute("aria-selected", "true");
  found.children[active].scrollIntoView({ block: "nearest" });
  words.setAttribute("aria-activedescendant", `found-${active}`);
}

function pick(song) {
  open(false);
  words.value = "";
  songs = [];
  choose(song.track_id);
}

function open(is) {
  found.hidden = !is;
  words.setAttribute("aria-expanded", String(is));
}
