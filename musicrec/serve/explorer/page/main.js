// The explorer. Each part of the page has a module; they meet by the event `song-chosen`, see choice.js.

import { choose, chosen, goHome } from "./choice.js";
import { showComparison } from "./compare.js";
import { at, plural } from "./dom.js";
import { likes, list } from "./kept.js";
import { enter } from "./login.js";
import { showList } from "./playlist.js";
import { read } from "./service.js";
import { showSong } from "./song.js";
import { showStart } from "./start.js";
import "./search.js";

let isFirst = true;

function follow() {
  const id = chosen();
  if (id === null) showStart();
  else choose(id);
  isFirst = false;
}

document.addEventListener("song-chosen", ({ detail: { id } }) => showSong(id, { isFirst }));
addEventListener("popstate", follow); // back, forward, and an address that somebody has typed
document.addEventListener("token-needed", () => location.reload()); // the service has another token since
at("home").addEventListener("click", (event) => {
  event.preventDefault();
  goHome();
});
at("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address names the song
  at("main").focus();
});

await enter();
const about = await read("status").catch(() => null); // each part says itself that nothing answers
for (const songs of [list, likes]) songs.open(about?.collection ?? "");
follow();
showList();
showComparison();
if (about) at("about").textContent = `${plural(about.songs, "song", "songs")} · table ${about.version} · musicrec ${about.musicrec}`;
if (about?.has_map) {
  const { start } = await import("./map.js");
  await start(at("map"));
  if (chosen() !== null) choose(chosen()); // the map has not heard of it
} else if (about) at("about").textContent += " · for a map of all songs: musicrec map OUT";
