// The player: one song at a time, in ranges from where it lies.

import { hashOf } from "./choice.js";
import { at, icon, make, shortNameOf } from "./dom.js";
import { addressOf, pathOf } from "./service.js";

const audio = at("audio");
let playing = null; // the song in the player

/** Make a button that plays a song, or stops it. */
export function playButton(song) {
  const button = make("button", { type: "button", class: "round play", onclick: () => toggle(song) });
  button.song = song;
  draw(button);
  return button;
}

function toggle(song) {
  if (playing?.track_id === song.track_id && !audio.error) return audio.paused ? start() : audio.pause();
  playing = song;
  at("player").hidden = false;
  at("player-wrong").textContent = "";
  at("playing").textContent = shortNameOf(song);
  at("playing").href = hashOf(song.track_id);
  audio.src = addressOf(pathOf(song.track_id, "audio"));
  return start();
}

const start = () => audio.play().catch(() => {}); // the event `error` says why

for (const event of ["play", "pause", "ended", "error", "emptied"]) audio.addEventListener(event, drawAll);
audio.addEventListener("error", async () => {
  const song = playing;
  const why = await reason(song);
  if (playing === song) at("player-wrong").textContent = why;
});

async function reason(song) {
  const response = await fetch(audio.src, { headers: { range: "bytes=0-0" } }).catch(() => null);
  if (!response) return "The service does not answer.";
  if (!response.ok) return `${shortNameOf(song)}: ${(await response.json().catch(() => ({}))).error ?? response.status}`;
  return `This browser cannot play ${shortNameOf(song)} (${response.headers.get("content-type")}).`;
}

function drawAll() {
  document.querySelectorAll("button.play").forEach(draw);
}

function draw(button) {
  const isOn = playing?.track_id === button.song.track_id && !audio.paused && !audio.error;
  button.setAttribute("aria-label", `${isOn ? "Pause" : "Play"} ${shortNameOf(button.song)}`);
  button.classList.toggle("on", isOn);
  button.replaceChildren(icon(isOn ? "pause" : "play"));
}
