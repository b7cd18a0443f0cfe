// Which song is shown. Whoever chooses one dispatches `song-chosen` on the document, with detail { id }; whoever shows
// something of it listens. The address holds the song, and the history the trail of songs that led there.

const KEY = "#song=";
const LONGEST = 40;

export const hashOf = (id) => KEY + encodeURIComponent(id);

/** Choose a song. */
export const choose = (id) => document.dispatchEvent(new CustomEvent("song-chosen", { detail: { id } }));

/** The song that the address names, or null. */
export function chosen() {
  if (!location.hash.startsWith(KEY)) return null;
  try {
    return decodeURIComponent(location.hash.slice(KEY.length));
  } catch {
    return null; // half a percent sign
  }
}

/** The songs that led here, the shown one last: { id, name }. */
export const trail = () => history.state?.trail ?? [];

/** Write a song into the address and the trail, unless it is there already. */
export function remember(id) {
  const before = trail();
  if (chosen() === id && before.at(-1)?.id === id) return;
  const known = before.findIndex((step) => step.id === id);
  const steps = known < 0 ? [...before, { id }].slice(-LONGEST) : before.slice(0, known + 1);
  const way = chosen() === id ? "replaceState" : "pushState";
  history[way]({ trail: steps }, "", hashOf(id));
}

/** Say what the shown song is called. */
export function nameLast(id, name) {
  const steps = trail().map((step) => (step.id === id ? { id, name } : step));
  history.replaceState({ trail: steps }, "", location.href);
}

/** Go to the beginning. */
export function goHome() {
  history.pushState(null, "", location.pathname);
  dispatchEvent(new PopStateEvent("popstate"));
}

// Links to songs go through `choose`, so that they take the trail along. Other keys open them as any link.
document.addEventListener("click", (event) => {
  const link = event.target.closest(`a[href^="${KEY}"]`);
  if (!link || event.defaultPrevented || event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  choose(decodeURIComponent(link.getAttribute("href").slice(KEY.length)));
});
