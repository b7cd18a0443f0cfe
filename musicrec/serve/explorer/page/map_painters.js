// Draw the songs of the map: by WebGL2, or dot by dot where there is none.
//
// A painter draws the songs that are shown on the part of the map that `view` sees, each in the colour of its genre, and
// on top the songs in `marked`, the first one with a line to each other. Of the genres, those in the bits of `kinds` are
// shown, and of these, unless `asked` is 0, the songs that have a flag of it.

const VERTEX = `#version 300 es
in vec2 at; in float genre, flags;
uniform vec4 view, ink; uniform vec3 palette[12]; uniform float size; uniform int kinds, asked;
out vec4 colour;
void main() {
  bool shown = ink.a > 0. || (kinds >> int(genre) & 1) == 1 && (asked == 0 || (int(flags) & asked) != 0);
  gl_Position = shown ? vec4(at * view.xy + view.zw, 0, 1) : vec4(9, 9, 9, 1);
  gl_PointSize = size;
  colour = ink.a > 0. ? ink : vec4(palette[int(genre)], 1);
}`;
const FRAGMENT = `#version 300 es
precision mediump float;
in vec4 colour; uniform float disc; out vec4 seen;
void main() {
  if (disc > 0. && distance(gl_PointCoord, vec2(.5)) > .5) discard;
  seen = colour;
}`;
const ROUND = 4; // pixels; smaller dots are squares
const RINGS = [[9, 4], [5, 1]]; // pixels by which marks are wider than a dot: the chosen song, and the others; edge, inside

const rgb = (hex) => [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16) / 255);

function programOf(gl) {
  const program = gl.createProgram();
  for (const [kind, code] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, code);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  ["at", "genre", "flags"].forEach((name, k) => gl.bindAttribLocation(program, k, name));
  gl.linkProgram(program);
  gl.useProgram(program);
  return program;
}

function send(gl, { xy, genre, flags }) {
  [[xy, 2, gl.FLOAT], [genre, 1, gl.UNSIGNED_BYTE], [flags, 1, gl.UNSIGNED_BYTE]].forEach(([values, width, kind], k) => {
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(k);
    gl.vertexAttribPointer(k, width, kind, false, 0, 0);
  });
  gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
}

/** Return whether WebGL2 is missing, or drawn by the processor: then the flat painter is faster. */
function isSlow() {
  const gl = document.createElement("canvas").getContext("webgl2", { failIfMajorPerformanceCaveat: true });
  if (!gl) return true;
  const known = gl.getExtension("WEBGL_debug_renderer_info");
  const renderer = gl.getParameter(known ? known.UNMASKED_RENDERER_WEBGL : gl.RENDERER);
  gl.getExtension("WEBGL_lose_context")?.loseContext();
  return /swiftshader|llvmpipe|softpipe|software|basic render/i.test(renderer);
}

/** Return a painter by WebGL2; null if there is none that is fast. */
export function glPainter(canvas, data) {
  const gl = isSlow() ? null : canvas.getContext("webgl2", { antialias: false, depth: false });
  if (!gl) return null;
  const program = programOf(gl), its = (name) => gl.getUniformLocation(program, name);
  const [view, ink, palette, size, disc, kinds, asked] = ["view", "ink", "palette", "size", "disc", "kinds", "asked"].map(its);
  const brush = (pixels, colour) => {
    gl.uniform1f(size, pixels);
    gl.uniform1f(disc, pixels >= ROUND ? 1 : 0);
    gl.uniform4fv(ink, colour ? [...rgb(colour), 1] : [0, 0, 0, 0]);
  };
  send(gl, data);
  return (scene) => {
    const seen = scene.view, across = 2 * seen.scale / seen.width, up = 2 * seen.scale / seen.height;
    gl.viewport(0, 0, seen.width, seen.height);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.uniform4f(view, across, up, -seen.x * across, -seen.y * up);
    gl.uniform3fv(palette, scene.colours.flatMap(rgb));
    gl.uniform1i(kinds, scene.kinds);
    gl.uniform1i(asked, scene.asked);
    brush(seen.size);
    gl.drawArrays(gl.POINTS, 0, data.n);
    if (scene.marked.length) mark(gl, scene, brush, data, palette);
  };
}

function mark(gl, { marked, view, ink, colours }, brush, { genre }) {
  const [first, ...others] = marked, lines = others.flatMap((other) => [first, other]);
  gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, new Uint32Array([...lines, ...others, first]), gl.STREAM_DRAW);
  brush(0, ink);
  gl.drawElements(gl.LINES, lines.length, gl.UNSIGNED_INT, 0);
  [...others, first].forEach((row, k) => {
    const [edge, inside] = RINGS[row === first ? 0 : 1];
    for (const [wider, colour] of [[edge, ink], [inside, colours[genre[row]]]]) {
      brush(view.size + wider * view.dpr, colour);
      gl.drawElements(gl.POINTS, 1, gl.UNSIGNED_INT, 4 * (lines.length + k));
    }
  });
}

/** Return a painter that needs no WebGL. */
export function flatPainter(canvas, { xy, n, genre }) {
  const context = canvas.getContext("2d");
  return ({ view, colours, ink, marked, isShown }) => {
    const { width, height, scale, size, dpr } = view, wide = Math.max(1, Math.round(size)), half = wide >> 1;
    const image = context.createImageData(width, height), pixels = new Uint32Array(image.data.buffer);
    const inks = colours.map((colour) => { const [r, g, b] = rgb(colour).map((part) => part * 255); return (255 << 24 | b << 16 | g << 8 | r) >>> 0; });
    const [left, top] = [width / 2 - view.x * scale, height / 2 + view.y * scale];
    const at = (row) => [left + xy[2 * row] * scale, top - xy[2 * row + 1] * scale];
    for (let row = 0; row < n; row++) {
      const x = Math.round(left + xy[2 * row] * scale) - half, y = Math.round(top - xy[2 * row + 1] * scale) - half;
      if (x < 0 || y < 0 || x + wide > width || y + wide > height || !isShown(row)) continue;
      for (let start = y * width + x; start < (y + wide) * width; start += width) pixels.fill(inks[genre[row]], start, start + wide);
    }
    context.putImageData(image, 0, 0);
    Object.assign(context, { strokeStyle: ink, lineWidth: dpr });
    const stroke = (draw) => { context.beginPath(); draw(); context.stroke(); };
    for (const row of marked) stroke(() => { context.moveTo(...at(marked[0])); context.lineTo(...at(row)); });
    for (const row of marked.toReversed()) {
      context.fillStyle = colours[genre[row]];
      stroke(() => { context.arc(...at(row), (size + RINGS[row === marked[0] ? 0 : 1][0] * dpr) / 2, 0, 7); context.fill(); });
    }
  };
}
