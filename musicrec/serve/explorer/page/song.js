// The song that is shown, with its list, and the trail that led there.

import { chosen, hashOf, nameLast, remember, trail } from "./choice.js";
import { at, make, nameOf, plural, say, shortNameOf } from "./dom.js";
import { likes, list } from "./kept.js";
import { playButton } from "./player.js";
import { byline, row } from "./rows.js";
import { pathOf, read } from "./service.js";

const [MOST, FIRST] = [50, 10];
let shown = null; // id of the song that stands there

/** Show a song, unless another one has been chosen meanwhile. */
export async function showSong(id, { isFirst }) {
  remember(id);
  if (shown === id && !at("song").hidden) return;
  let found;
  try {
    found = await read(`${pathOf(id, "around")}?n=${MOST}`);
  } catch (error) {
    if (chosen() === id) fail(error);
    return;
  }
  if (chosen() !== id) return;
  const { song, similar } = found;
  shown = id;
  nameLast(id, nameOf(song));
  document.title = `${shortNameOf(song)} – musicrec`;
  at("song").replaceChildren(...head(song), ...similars(similar));
  reveal();
  say(`${shortNameOf(song)}, ${plural(similar.length, "similar song", "similar songs")}`);
  if (!isFirst) at("title").focus({ preventScroll: true });
}

function head(song) {
  return [
    make("h1", { id: "title", tabindex: "-1", dir: "auto" }, nameOf(song)),
    byline(song) ? make("p", { class: "byline", dir: "auto" }, byline(song)) : null,
    song.track_id === nameOf(song) ? null : make("p", { class: "file", dir: "auto" }, song.track_id),
    make("div", { class: "does" }, playButton(song), list.button(song), likes.button(song)),
  ].filter(Boolean);
}

function similars(similar) {
  const rows = similar.map((other) => row(other, other));
  rows.slice(FIRST).forEach((li) => (li.hidden = true));
  const more = make("button", { type: "button", class: "plain", onclick: () => {
    rows.forEach((li) => (li.hidden = false));
    more.remove();
    rows[FIRST].querySelector("a").focus();
  } }, `Show all ${similar.length}`);
  return [
    make("h2", {}, "Similar songs"),
    similar.length ? make("ol", { class: "songs" }, ...rows) : make("p", { class: "lead" }, "No other song is left by the rules of the table."),
    ...(similar.length > FIRST ? [more] : []),
  ];
}

function fail(error) {
  shown = null;
  at("song").replaceChildren(make("h1", { id: "title", tabindex: "-1" }, "Not found"), make("p", { class: "wrong", role: "alert" }, error.message));
  reveal();
}

function reveal() {
  at("start").hidden = true;
  at("song").hidden = false;
  const steps = trail();
  at("trail").hidden = steps.length < 2;
  at("trail").firstElementChild.replaceChildren(...steps.map((step, i) => {
    const isHere = i === steps.length - 1;
    const name = step.name ?? step.id;
    return make("li", {}, make("a", { dir: "auto", href: hashOf(step.id), "aria-current": isHere ? "page" : null }, name));
  }));
  scrollTo(0, 0);
}
