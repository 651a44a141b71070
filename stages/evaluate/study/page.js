"use strict";
const study = JSON.parse(document.getElementById("study").textContent);
const element = (id) => document.getElementById(id);


// Chance: the same worker meets the same questions in the same order, on the same sides

/** Numbers in [0, 1) that depend on `seed` alone (FNV-1a into mulberry32). */
function generator(seed) {
  let state = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(seed)) state = Math.imul(state ^ byte, 0x01000193);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let bits = Math.imul(state ^ (state >>> 15), state | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return ((bits ^ (bits >>> 14)) >>> 0) / 4294967296;
  };
}

function shuffled(items, random) {
  const order = [...items];
  for (let last = order.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    [order[last], order[other]] = [order[other], order[last]];
  }
  return order;
}

/** The questions of a worker: [{id, shown: [name, name], reference, width, aspect}], the first of `shown` being video 1. */
function plan(worker) {
  const random = generator(study.study + "/" + worker);
  const block = study.blocks[Math.floor(random() * study.blocks.length)];
  return shuffled(block, random).map((id) => {
    const { videos, ...rest } = study.questions[id];
    return { id, ...rest, shown: random() < 0.5 ? videos : [...videos].reverse() };
  });
}

function randomText(length) {
  const letters = "23456789ABCDEFGHJKMNPQRSTUVWXYZ";  // none that are taken for each other
  return Array.from(crypto.getRandomValues(new Uint32Array(length)), (number) => letters[number % letters.length]).join("");
}


// Memory: what was answered so far outlives the page, where the browser lets it

const memory = {
  load(name) {
    try { return JSON.parse(localStorage.getItem(`fsv2v/${study.study}/${name}`)); } catch { return null; }
  },
  save(name, value) {
    try { localStorage.setItem(`fsv2v/${study.study}/${name}`, JSON.stringify(value)); } catch { /* a private window */ }
  },
};

/** As crowd platforms hand it over (Mechanical Turk, Prolific), or drawn once for this browser. */
function whoIsThere() {
  const address = new URLSearchParams(location.search);
  const given = ["worker", "workerId", "PROLIFIC_PID"].map((name) => (address.get(name) || "").trim()).find((name) => name);
  const worker = given || memory.load("worker") || "anonymous-" + randomText(10);
  if (!given) memory.save("worker", worker);
  return worker.slice(0, 100);
}

const worker = whoIsThere();
const questions = plan(worker);
const record = memory.load("answers/" + worker) || {
  schema: "fsv2v.answers/1", study: study.study, worker, code: study.code || randomText(8), started: new Date().toISOString(), finished: null, answers: [],
};
const remember = () => memory.save("answers/" + worker, record);


// Videos: loaded one question ahead, played in step

/** The videos of question number `index`, loading. */
function makeCard(index) {
  const question = questions[index];
  const card = element("card").content.firstElementChild.cloneNode(true);
  const buttons = [...card.querySelectorAll(".choice")];
  const videos = buttons.map((button) => button.querySelector("video"));
  card.style.setProperty("--width", question.width);
  card.style.setProperty("--aspect", question.aspect);
  card.classList.toggle("tall", question.aspect < 0.8);
  question.shown.forEach((name, side) => { videos[side].src = `videos/${name}.mp4`; });
  if (question.reference) {
    const figure = card.querySelector(".reference");
    figure.hidden = false;
    card.classList.add("with-reference");
    videos.push(figure.querySelector("video"));
    videos[2].src = `videos/${question.reference}.mp4`;
  }
  buttons.forEach((button, side) => button.addEventListener("click", () => choose(side)));
  videos.forEach((video) => {
    video.muted = true;  // the attribute does not count in what is cloned
    video.addEventListener("error", () => problem("A video cannot be loaded or played. Check your connection and reload the page, or try another browser."));
  });
  card.hidden = true;
  element("stage").append(card);
  return { card, buttons, videos, index, begun: 0 };
}

const LEAD = 0.1;  // seconds that a video may be ahead of the slowest
let now = null;    // the card that is shown
let next = null;   // the card after it
let paused = matchMedia("(prefers-reduced-motion: reduce)").matches;

/** Called every few hundredths of a second: starts videos together, holds back those that are ahead, repeats when all have ended. */
function keepInStep() {
  if (!now || now.chosen !== undefined) return;
  const { videos, buttons } = now;
  if (paused || videos.some((video) => video.seeking)) return videos.forEach((video) => video.pause());
  const loading = videos.filter((video) => video.readyState < 2);
  if (loading.length) return videos.forEach((video) => (loading.includes(video) ? play(video) : video.pause()));  // some load only to play
  const running = videos.filter((video) => !video.ended);
  if (!running.length) return videos.forEach((video) => { video.currentTime = 0; });
  const slowest = Math.min(...running.map((video) => video.currentTime));
  for (const video of running) {
    if (video.currentTime - slowest > LEAD) video.pause();
    else play(video);
  }
  if (!now.begun) {
    now.begun = performance.now();
    buttons.forEach((button) => { button.disabled = false; });
  }
}

function play(video) {
  if (video.paused) video.play().catch((error) => { if (error.name === "NotAllowedError") setPaused(true); });
}

function setPaused(wanted) {
  paused = wanted;
  element("pause").textContent = paused ? "Play" : "Pause";
}

function problem(sentence) {
  element("problem").textContent = sentence;
  element("problem").hidden = !sentence;
}


// The three sections

function show(section) {
  if (element(section).hidden) scrollTo(0, 0);
  for (const id of ["intro", "test", "end"]) element(id).hidden = id !== section;
}

function intro() {
  const done = record.answers.length;
  element("amount").textContent = `${questions.length} pairs` + (done ? `, of which you have answered ${done}` : "");
  document.querySelector(".for-reference").hidden = !questions.some((question) => question.reference);
  element("start").textContent = done ? "Continue" : "Start";
  next = makeCard(done);
  show("intro");
}

function ask() {
  const index = record.answers.length;
  if (index === questions.length) return end();
  if (now) now.card.remove();
  now = next;
  now.card.hidden = false;
  next = index + 1 < questions.length ? makeCard(index + 1) : null;
  element("bar").max = questions.length;
  element("bar").value = index;
  element("count").textContent = `${index + 1} of ${questions.length}`;
  show("test");
  element("ask").focus({ preventScroll: true });
}

/** side: 0 for video 1. Counts once per question, and not before its videos have begun to play. */
function choose(side) {
  if (!now || !now.begun || now.chosen !== undefined || element("test").hidden) return;
  now.chosen = side;
  const { id, shown } = questions[now.index];
  const seconds = Math.round(performance.now() - now.begun) / 1000;
  record.answers.push({ question: id, shown, chosen: shown[side], seconds });
  if (record.answers.length === questions.length) record.finished = new Date().toISOString();
  remember();
  now.buttons[side].classList.add("chosen");
  now.videos.forEach((video) => video.pause());
  setTimeout(ask, 200);  // long enough to see what was chosen
}

function end() {
  now = null;
  element("stage").replaceChildren();
  element("code").textContent = record.code;
  show("end");
  document.querySelector("#end h1").focus({ preventScroll: true });
  if (study.post) send();
}

const answersAsText = () => { const { sent, ...answers } = record; return JSON.stringify(answers, null, 1) + "\n"; };

function download() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([answersAsText()], { type: "application/json" }));
  link.download = `answers-${worker.replace(/[^\w-]/g, "_")}-${record.code}.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

/** As text/plain, which a server of another origin may be sent without being asked first; it still has to allow this one to read its reply. */
async function send() {
  element("again").hidden = true;
  if (!record.sent) {
    element("sent").textContent = "Sending your answers …";
    try {
      const reply = await fetch(study.post, { method: "POST", headers: { "Content-Type": "text/plain;charset=UTF-8" }, body: answersAsText() });
      if (!reply.ok) throw new Error(`the server answered ${reply.status}`);
      record.sent = true;
      remember();
    } catch (error) {
      element("sent").textContent = `Your answers could not be sent (${error.message}). Send them again, or download them and hand the file in.`;
      element("again").hidden = false;
      return;
    }
  }
  element("sent").textContent = "Your answers have arrived.";
  element("hand-in").hidden = true;
  element("download").classList.remove("main");
}


// Hands

element("start").addEventListener("click", ask);
element("pause").addEventListener("click", () => setPaused(!paused));
element("download").addEventListener("click", download);
element("again").addEventListener("click", send);
element("copy").addEventListener("click", () => {
  getSelection().selectAllChildren(element("code"));
  document.execCommand("copy");  // works where the page has no certificate, too
  element("copy").textContent = "Copied";
});
document.addEventListener("keydown", (event) => {
  if (event.repeat || event.altKey || event.ctrlKey || event.metaKey || element("test").hidden) return;
  if (event.key === "ArrowLeft" || event.key === "1") choose(0);
  else if (event.key === "ArrowRight" || event.key === "2") choose(1);
  else if (event.key === " " && event.target.tagName !== "BUTTON") setPaused(!paused);
  else return;
  event.preventDefault();
});

document.querySelectorAll(".ask").forEach((place) => { place.textContent = study.ask; });
setPaused(paused);
setInterval(keepInStep, 40);
if (record.answers.length < questions.length) intro();
else end();
