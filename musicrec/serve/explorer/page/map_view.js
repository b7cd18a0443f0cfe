// Which part of the map is seen, and how pointers, wheel and keys move it.

const MOST = 400, LEAST = 0.5; // times the picture of all songs
const STILL = 5; // pixels that a finger may move and still choose
const FLIGHT_MS = 300;

const still = matchMedia("(prefers-reduced-motion: reduce)");

export class View {
  /** `changed` is called whenever another part is seen. */
  constructor(data, changed) {
    Object.assign(this, { data, changed, width: 1, height: 1, dpr: 1 });
    this.home();
  }

  /** Pixels of the screen for a unit of the map. */
  get scale() {
    const { wide: [across, up], extent } = this.data, least = extent / 10;
    return Math.min(this.width / Math.max(across, least), this.height / Math.max(up, least)) * this.times;
  }

  /** How wide a song is drawn, in pixels of the screen: wider where there are fewer songs, and from near. */
  get size() {
    const room = Math.sqrt(this.width * this.height / this.data.n) / this.dpr;
    return Math.min(14, Math.min(7, Math.max(2, room * 0.35)) * this.times ** 0.3) * this.dpr;
  }

  fit(canvas, box) {
    this.dpr = devicePixelRatio || 1;
    this.width = canvas.width = Math.max(1, Math.round(box.clientWidth * this.dpr));
    this.height = canvas.height = Math.max(1, Math.round(box.clientHeight * this.dpr));
    this.box = box;
    this.changed();
  }

  /** A length of the page, on the map. */
  length(pixels) { return pixels * this.dpr / this.scale; }

  /** The place on the map that an event points to. */
  at({ clientX, clientY }) {
    const { left, top, width, height } = this.box.getBoundingClientRect();
    return [this.x + this.length(clientX - left - width / 2), this.y - this.length(clientY - top - height / 2)];
  }

  home() { this.go(...this.data.centre, 1); }

  go(x, y, times = this.times) {
    Object.assign(this, { x, y, times });
    this.changed();
  }

  pan(across, down) { this.go(this.x - this.length(across), this.y + this.length(down)); }

  zoom(by, [x, y] = [this.x, this.y]) {
    const times = Math.min(MOST, Math.max(LEAST, this.times * by)), k = this.times / times;
    this.go(x + (this.x - x) * k, y + (this.y - y) * k, times);
  }

  /** Move until a place is well inside the picture. */
  reach(x, y) {
    const far = Math.max(Math.abs(x - this.x) / this.width, Math.abs(y - this.y) / this.height) * this.scale;
    if (far < 0.42) return;
    const from = [this.x, this.y], began = performance.now();
    const step = (now) => {
      const t = still.matches ? 1 : Math.min(1, Math.max(0, (now - began) / FLIGHT_MS));
      this.go(from[0] + (x - from[0]) * t, from[1] + (y - from[1]) * t);
      if (t < 1) requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }
}

/** Have a canvas move the view; `hover` and `choose` get the event, `hover` nothing once the pointer has left. */
export function listen(canvas, view, { hover, choose, middle }) {
  drag(canvas, view, hover, choose);
  canvas.addEventListener("pointerleave", () => hover());
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    view.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), view.at(event));
  }, { passive: false });
  const keys = {
    ArrowLeft: () => view.pan(60, 0), ArrowRight: () => view.pan(-60, 0), ArrowUp: () => view.pan(0, 60), ArrowDown: () => view.pan(0, -60),
    "+": () => view.zoom(1.5), "=": () => view.zoom(1.5), "-": () => view.zoom(1 / 1.5), 0: () => view.home(), Enter: middle,
  };
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
}

function drag(canvas, view, hover, choose) {
  const fingers = new Map();
  let moved = 0;
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, event);
    moved = fingers.size > 1 ? STILL : 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    const last = fingers.get(event.pointerId), other = [...fingers.values()].find((finger) => finger !== last);
    if (!last) return hover(event);
    fingers.set(event.pointerId, event);
    const across = event.clientX - last.clientX, down = event.clientY - last.clientY;
    moved += Math.abs(across) + Math.abs(down);
    if (!other) return view.pan(across, down);
    const apart = (finger) => Math.hypot(finger.clientX - other.clientX, finger.clientY - other.clientY) || 1;
    view.pan(across / 2, down / 2);
    view.zoom(apart(event) / apart(last), view.at({ clientX: (event.clientX + other.clientX) / 2, clientY: (event.clientY + other.clientY) / 2 }));
  });
  for (const kind of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(kind, (event) => {
      fingers.delete(event.pointerId);
      if (kind === "pointerup" && moved < STILL && !fingers.size) choose(event);
    });
  }
}
