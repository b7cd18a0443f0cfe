// Where to begin: some songs, hubs, and orphans.

import { at, make, plural } from "./dom.js";
import { row } from "./rows.js";
import { read } from "./service.js";

const MOST = 6;

/** Show songs to begin with. */
export async function showStart() {
  at("song").hidden = at("trail").hidden = true;
  at("start").hidden = false;
  document.title = "musicrec";
  if (at("starts").childElementCount) return;
  const seed = Math.floor(Math.random() * 2 ** 31);
  try {
    const { songs, hubs, orphans, n_orphans } = await read(`starts?n=${MOST}&seed=${seed}`);
    const lists = (song) => ({ note: `in ${plural(song.lists, "list", "lists")}` });
    at("start-lead").textContent = "Search for a song, or take one of these.";
    at("starts").replaceChildren(
      column("Any songs", "Chosen by chance", songs.map((song) => row(song))),
      column("Hubs", "Songs in the most lists", hubs.map((song) => row(song, lists(song)))),
      ...(n_orphans ? [column("Orphans", `${plural(n_orphans, "song is", "songs are")} in no list`, orphans.map((song) => row(song)))] : []),
    );
  } catch (error) {
    at("start-lead").textContent = error.message;
  }
}

function column(title, about, rows) {
  return make("section", {}, make("h2", {}, title), make("p", { class: "lead" }, about), make("ol", { class: "songs small" }, ...rows));
}
