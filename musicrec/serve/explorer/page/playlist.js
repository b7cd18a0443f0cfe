// The list of songs that somebody collects, and its playlist file.

import { hashOf } from "./choice.js";
import { at, icon, make, nameOf, plural, say, shortNameOf } from "./dom.js";
import { list } from "./kept.js";
import { playButton } from "./player.js";
import { send } from "./service.js";

/** Show the list, and follow it. */
export function showList() {
  at("list").hidden = false;
  list.addEventListener("change", draw);
  at("list-clear").addEventListener("click", () => list.set([]));
  at("list-form").addEventListener("submit", (event) => {
    event.preventDefault();
    save(at("list-name").value, at("list-format").value);
  });
  draw();
}

function draw() {
  const { songs } = list;
  at("list-lead").textContent = songs.length ? plural(songs.length, "song", "songs") : "Press + beside a song to put it here.";
  at("list-form").hidden = !songs.length;
  at("list-wrong").textContent = "";
  at("list-songs").replaceChildren(...songs.map(entry));
}

function entry(song, i) {
  const up = make("button", { type: "button", class: "round", "aria-label": `Move up ${shortNameOf(song)}`, onclick: () => raise(i) }, icon("up"));
  return make(
    "li",
    {},
    playButton(song),
    make("div", { class: "what" }, make("a", { class: "name", dir: "auto", href: hashOf(song.track_id) }, nameOf(song)),
      song.artist ? make("span", { class: "by", dir: "auto" }, song.artist) : null),
    make("div", { class: "does" }, i ? up : null,
      make("button", { type: "button", class: "round", "aria-label": `Remove ${shortNameOf(song)}`, onclick: () => list.toggle(song) }, icon("remove"))),
  );
}

function raise(i) {
  const songs = [...list.songs];
  [songs[i - 1], songs[i]] = [songs[i], songs[i - 1]];
  list.set(songs);
  say(`${shortNameOf(songs[i - 1])} is number ${i}`);
  at("list-songs").children[i - 1].querySelector(".does button").focus();
}

async function save(name, format) {
  at("list-wrong").textContent = "";
  try {
    const response = await send("playlist", { name, format, songs: list.songs.map((song) => song.track_id) });
    const link = make("a", { href: URL.createObjectURL(await response.blob()), download: `${name.replace(/[\\/:*?"<>|]/g, "_")}.${format}` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    say(`The playlist ${name} is saved`);
  } catch (error) {
    at("list-wrong").textContent = error.message;
  }
}
