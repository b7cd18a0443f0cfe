// The explorer. Each part of the page has a module; they meet by the event `song-chosen`, see choice.js.

import { choose, chosen, goHome } from "./choice.js";
import { showComparison } from "./compare.js";
import { at, plural } from "./dom.js";
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
follow();
showList();
showComparison();
const { songs, version, musicrec, has_map: hasMap } = await read("status");
at("about").textContent = `${plural(songs, "song", "songs")} · table ${version} · musicrec ${musicrec}`;
if (hasMap) {
  const { start } = await import("./map.js");
  await start(at("map"));
  if (chosen() !== null) choose(chosen()); // the map has not heard of it
}
