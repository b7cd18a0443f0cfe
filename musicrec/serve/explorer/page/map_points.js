// The songs of the map: read from the bytes of the service, and found by their place.

export const NOWHERE = 1e9; // where songs stand that are not on the map: outside of every picture

const MARGIN = 1.06; // of the picture of all songs, as a multiple of what they need

/** Read what `/map` answers; the module musicrec.serve.service.map_points describes it. */
export function unpack(buffer) {
  const [, n, length] = new Uint32Array(buffer, 0, 3), at = 12 + length;
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 12, length)));
  const xy = new Float32Array(buffer, at, 2 * n), low = [Infinity, Infinity], high = [-Infinity, -Infinity];
  for (let i = 0; i < 2 * n; i++) {
    if (Number.isNaN(xy[i])) xy[i] = NOWHERE;
    else {
      low[i & 1] = Math.min(low[i & 1], xy[i]);
      high[i & 1] = Math.max(high[i & 1], xy[i]);
    }
  }
  const [genre, flags] = [8, 9].map((width) => new Uint8Array(buffer, at + width * n, n));
  const count = (isIt) => { // songs that are on the map
    let found = 0;
    for (let row = 0; row < n; row++) if (xy[2 * row] !== NOWHERE && isIt(row)) found++;
    return found;
  };
  const centre = low.map((least, axis) => (least + high[axis]) / 2 || 0);
  const wide = low.map((least, axis) => Math.max(0, high[axis] - least) * MARGIN), extent = Math.max(...wide) || 1;
  return { ...head, n, xy, genre, flags, count, low, centre, wide, extent };
}

/** Return a function that finds the row nearest to a place, within a radius; -1 if there is none. */
export function grid({ n, xy, low, extent }) {
  const side = Math.max(1, Math.ceil(Math.sqrt(n / 3)));
  const step = (value, axis) => Math.max(0, Math.min(side - 1, Math.floor((value - low[axis]) / extent * side)));
  const square = new Int32Array(n), start = new Int32Array(side * side + 1), rows = new Int32Array(n);
  for (let i = 0; i < n; i++) {
    square[i] = step(xy[2 * i], 0) + side * step(xy[2 * i + 1], 1);
    start[square[i] + 1]++;
  }
  for (let k = 0; k < side * side; k++) start[k + 1] += start[k];
  const next = start.slice();
  for (let i = 0; i < n; i++) rows[next[square[i]]++] = i;
  return (x, y, radius, isShown) => {
    const [from, to] = [step(x - radius, 0), step(x + radius, 0)];
    let best = -1, least = radius * radius;
    for (let row = step(y - radius, 1); row <= step(y + radius, 1); row++) {
      for (let k = start[side * row + from]; k < start[side * row + to + 1]; k++) {
        const far = (xy[2 * rows[k]] - x) ** 2 + (xy[2 * rows[k] + 1] - y) ** 2;
        if (far < least && isShown(rows[k])) [best, least] = [rows[k], far];
      }
    }
    return best;
  };
}
