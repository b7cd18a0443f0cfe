// Elements and words of the page. What comes from the catalog is always put in as text, never as HTML.

const SVG = "http://www.w3.org/2000/svg";

export const at = (id) => document.getElementById(id);

/** Make an element; `onclick` and the like are listeners, all others attributes. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Make an icon of icons.svg; screen readers pass it over. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `icons.svg#${name}`);
  svg.append(use);
  return svg;
}

/** Have a screen reader say something. */
export function say(text) {
  at("said").textContent = text;
}

export const plural = (n, one, many) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;

/** A score or a share as text, with a real minus. */
export const figure = (number) => (Math.abs(number) < 0.005 ? 0 : number).toFixed(2).replace("-", "−");

/** What people call a song: its title, or the name of its file. */
export const nameOf = (song) => song.title || song.track_id.split("/").pop();

/** A name that a sentence can hold. */
export function shortNameOf(song) {
  const letters = [...nameOf(song)];
  return letters.length > 80 ? `${letters.slice(0, 79).join("")}…` : nameOf(song);
}
