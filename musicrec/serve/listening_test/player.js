"use strict";
(() => {
  const { about, clips, folder, suffix } = JSON.parse(document.getElementById("test").textContent);
  const el = (id) => document.getElementById(id);
  const audio = el("audio");
  const key = `musicrec/${about.test}/${about.participant}`;
  const LEAST_HEARD_S = 5;

  // --- what is kept over a reload --------------------------------------------------------------------------------

  const now = () => new Date().toISOString();
  const fresh = () => ({ started_at: null, finished_at: null, answers: [], draft: null, seen: 0 });
  let state = fresh();
  try {
    state = Object.assign(state, JSON.parse(localStorage.getItem(key)));
  } catch (error) {
    notKept();
  }

  function keep() {
    try {
      localStorage.setItem(key, JSON.stringify(state));
    } catch (error) {
      notKept();
    }
  }

  function notKept() {
    el("kept").textContent = "This browser keeps nothing: please do not close or reload this page before the end.";
  }

  // --- pages -----------------------------------------------------------------------------------------------------

  let heardBefore = 0;
  let isBroken = false;

  function show() {
    const isStarted = state.started_at !== null;
    const isDone = state.seen >= clips.length;
    el("welcome").hidden = isStarted;
    el("listening").hidden = !isStarted || isDone;
    el("end").hidden = !isStarted || !isDone;
    el("stop").hidden = !isStarted || isDone || !state.answers.length;
    if (isStarted && !isDone) showClip();
    if (isStarted && isDone) showEnd();
  }

  function showClip() {
    const clip = clips[state.seen];
    if (!state.draft || state.draft.clip !== clip) {
      state.draft = { clip, like: null, known: false, rating: null, heard_s: 0 };
    }
    heardBefore = state.draft.heard_s;
    isBroken = false;
    el("position").textContent = `Clip ${state.seen + 1} of ${clips.length}`;
    el("progress").value = state.seen;
    el("message").textContent = "";
    el("next").textContent = state.seen + 1 < clips.length ? "Next" : "Finish";
    audio.src = folder + clip + suffix;
    showTime();
    showDraft();
  }

  function showDraft() {
    const { like, known, rating } = state.draft;
    for (const radio of document.getElementsByName("like")) radio.checked = like === (radio.value === "yes");
    el("known").checked = known;
    el("rating").value = rating === null ? 50 : rating;
    el("rating").classList.toggle("untouched", rating === null);
    el("shown").textContent = rating === null ? "–" : rating;
  }

  function showEnd() {
    audio.pause();
    const n = state.answers.length;
    el("summary").textContent = `You have answered ${n} of ${clips.length} clips.`;
  }

  function change(values) {
    Object.assign(state.draft, values);
    el("message").textContent = "";
    keep();
    showDraft();
  }

  // --- playing ---------------------------------------------------------------------------------------------------

  function heard() {
    let seconds = heardBefore;
    for (let i = 0; i < audio.played.length; i++) seconds += audio.played.end(i) - audio.played.start(i);
    return Math.round(seconds * 10) / 10;
  }

  function showTime() {
    el("time").value = audio.duration ? audio.currentTime / audio.duration : 0;
    el("action").textContent = audio.paused ? "Play" : "Pause";
    el("sign").textContent = audio.paused ? "▶" : "❚❚";
  }

  function toggle() {
    if (audio.paused) audio.play().catch(() => {});
    else audio.pause();
  }

  audio.addEventListener("timeupdate", () => {
    if (!state.draft) return; // after the last clip
    state.draft.heard_s = heard();
    showTime();
  });
  for (const event of ["play", "pause", "ended", "loadedmetadata"]) audio.addEventListener(event, showTime);
  audio.addEventListener("pause", keep);
  audio.addEventListener("error", () => {
    isBroken = true;
    el("message").textContent = "This clip cannot be played. Reload the page, or go on without it.";
  });

  // --- answering -------------------------------------------------------------------------------------------------

  function missing() {
    const { like, rating, heard_s } = state.draft;
    if (heard_s < Math.min(LEAST_HEARD_S, (audio.duration || LEAST_HEARD_S) / 2)) return "Please listen to the clip first.";
    if (like === null) return "Please say whether you like it.";
    if (rating === null) return "Please move the slider to say how much you like it.";
    return "";
  }

  function next() {
    state.draft.heard_s = heard();
    const message = isBroken ? "" : missing();
    el("message").textContent = message;
    if (message) return;
    audio.pause();
    if (!isBroken) state.answers.push({ ...state.draft, at: now() });
    state.draft = null;
    state.seen += 1;
    if (state.seen >= clips.length) state.finished_at = now();
    keep();
    show();
    keep();
    (state.seen < clips.length ? el("position") : el("end-title")).focus();
  }

  function download() {
    const { started_at, finished_at, answers } = state;
    const content = JSON.stringify({ ...about, started_at, finished_at, answers }, null, 1);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([content], { type: "application/json" }));
    link.download = `answers-${about.participant}.json`;
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  }

  el("start").addEventListener("click", () => {
    state.started_at = now();
    show();
    keep();
    el("position").focus();
  });
  el("play").addEventListener("click", toggle);
  for (const radio of document.getElementsByName("like")) {
    radio.addEventListener("change", () => change({ like: radio.value === "yes" }));
  }
  el("known").addEventListener("change", () => change({ known: el("known").checked }));
  for (const event of ["input", "pointerup"]) {
    el("rating").addEventListener(event, () => change({ rating: Number(el("rating").value) }));
  }
  el("answer").addEventListener("submit", (event) => {
    event.preventDefault();
    next();
  });
  el("download").addEventListener("click", download);
  el("stop").addEventListener("click", download);

  document.addEventListener("keydown", (event) => {
    if (el("listening").hidden || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    const isControl = event.target.matches("button, input");
    const actions = {
      l: () => change({ like: true }),
      d: () => change({ like: false }),
      k: () => change({ known: !state.draft.known }),
      ...(isControl ? {} : { " ": toggle, enter: next }),
    };
    const action = actions[event.key.toLowerCase()];
    if (!action) return;
    event.preventDefault();
    action();
  });

  show();
})();
