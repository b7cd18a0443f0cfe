// Rows of songs.

import { hashOf } from "./choice.js";
import { figure, make, nameOf } from "./dom.js";
import { likes, list } from "./kept.js";
import { playButton } from "./player.js";

export const byline = (song) => [song.artist, song.genre].filter(Boolean).join(" · ");

/** Make a row: the song with its buttons, and what is said of it. */
export function row(song, { score, note, because } = {}) {
  return make(
    "li",
    {},
    playButton(song),
    make(
      "div",
      { class: "what" },
      make("a", { class: "name", dir: "auto", href: hashOf(song.track_id) }, nameOf(song)),
      make("span", { class: "by" }, ...said(song, note)),
      because ? reasons(score, because) : null,
    ),
    score === undefined ? null : make("span", { class: "score" }, make("span", { class: "unseen" }, "score "), figure(score)),
    make("div", { class: "does" }, list.button(song), likes.button(song)),
  );
}

/** What stands below the name, each part in its own direction. */
function said(song, note) {
  const parts = [byline(song), note].filter(Boolean);
  return parts.flatMap((part, i) => [i ? " · " : "", make("bdi", {}, part)]);
}

/** A bar as long as the score, of what each space contributes, and the same in figures. */
function reasons(score, because) {
  const spaces = Object.entries(because);
  const total = spaces.reduce((sum, [, share]) => sum + Math.max(share, 0), 0);
  const bar = make("span", { class: "bar", "aria-hidden": "true" });
  for (const [i, [, share]] of (spaces.length ? spaces : [["", 1]]).entries()) {
    const part = make("span", { class: `space-${i % 6}` });
    part.style.width = `${100 * Math.max(0, Math.min(score, 1)) * (spaces.length ? Math.max(share, 0) / (total || 1) : 1)}%`;
    bar.append(part);
  }
  const figures = spaces.map(([name, share], i) =>
    make("span", { class: "share" }, make("span", { class: `dot space-${i % 6}`, "aria-hidden": "true" }), `${name} ${figure(share)}`),
  );
  return make(
    "span",
    { class: "because" },
    bar,
    spaces.length ? make("span", { class: "shares" }, make("span", { class: "unseen" }, "because of "), ...figures) : null,
  );
}
