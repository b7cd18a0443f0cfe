// What each way recommends to somebody who likes some songs, side by side.

import { at, figure, icon, make, plural, say, shortNameOf } from "./dom.js";
import { likes } from "./kept.js";
import { row } from "./rows.js";
import { read } from "./service.js";

const N = 5;
let methods = null;

/** Show the comparison, and follow the likes. */
export function showComparison() {
  at("compare").hidden = false;
  likes.addEventListener("change", draw);
  draw();
}

async function draw() {
  const songs = [...likes.songs];
  at("compare-lead").textContent = songs.length
    ? `What each way recommends to somebody who likes ${songs.length === 1 ? "this song" : "these songs"}`
    : "Press the heart beside up to five songs, and see what each way to recommend makes of them.";
  at("likes").replaceChildren(...songs.map(chip));
  at("likes").hidden = !songs.length;
  if (!songs.length) return at("methods").replaceChildren();
  try {
    methods ??= await read("methods");
    const found = await Promise.all(methods.map((method) => column(method, songs)));
    if (isStill(songs)) {
      at("methods").replaceChildren(...found);
      say(`${plural(songs.length, "song is", "songs are")} compared`);
    }
  } catch (error) {
    at("methods").replaceChildren(make("p", { class: "wrong", role: "alert" }, error.message));
  }
}

const isStill = (songs) => songs.length === likes.songs.length && songs.every(likes.has, likes);

function chip(song) {
  return make("li", {}, make("span", { dir: "auto", class: "name" }, shortNameOf(song)),
    make("button", { type: "button", class: "round", "aria-label": `Remove ${shortNameOf(song)}`, onclick: () => likes.toggle(song) }, icon("remove")));
}

async function column({ name, title, about, is_distance: isDistance }, songs) {
  const wanted = new URLSearchParams([...songs.map((song) => ["like", song.track_id]), ["n", N]]);
  const { recommended, why_not } = await read(`methods/${name}?${wanted}`);
  const score = (song) => (isDistance ? `distance ${figure(-song.score)}` : figure(song.score));
  const because = (song) => ({ note: score(song) + (songs.length > 1 ? `, as you like ${shortNameOf(song.because)}` : "") });
  return make("section", { "data-method": name }, make("h3", {}, title), make("p", { class: "lead" }, about),
    why_not ? make("p", { class: "quiet" }, `Not here: ${why_not}`)
      : make("ol", { class: "songs small" }, ...recommended.map((song) => row(song, because(song)))));
}
