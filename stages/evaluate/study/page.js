"use strict";
const study = JSON.parse(document.getElementById("study").textContent);
const element = (id) => document.getElementById(id);


// Random choices: the same worker always gets the same questions, in the same order and with the same sides

/** A generator of random numbers in [0, 1) that depend only on `seed` (FNV-1a seeds mulberry32). */
function randomGenerator(seed) {
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
  const random = randomGenerator(study.study + "/" + worker);
  const block = study.blocks[Math.floor(random() * study.blocks.length)];
  return shuffled(block, random).map((id) => {
    const { videos, ...rest } = study.questions[id];
    return { id, ...rest, shown: random() < 0.5 ? videos : [...videos].reverse() };
  });
}

function randomText(length) {
  const letters = "23456789ABCDEFGHJKMNPQRSTUVWXYZ";  // without those that look alike
  return Array.from(crypto.getRandomValues(new Uint32Array(length)), (number) => letters[number % letters.length]).join("");
}


// Memory: the answers so far are kept in the browser, if it allows it, so that a closed page can be continued

const memory = {
  load(name) {
    try { return JSON.parse(localStorage.getItem(`fsv2v/${study.study}/${name}`)); } catch { return null; }
  },
  save(name, value) {
    try { localStorage.setItem(`fsv2v/${study.study}/${name}`, JSON.stringify(value)); } catch { /* a private window */ }
  },
};

/** The worker's name in the address, as crowd platforms (Mechanical Turk, Prolific) add it, or a random name for this browser. */
function workerName() {
  const address = new URLSearchParams(location.search);
  const given = ["worker", "workerId", "PROLIFIC_PID"].map((name) => (address.get(name) || "").trim()).find((name) => name);
  const worker = given || memory.load("worker") || "anonymous-" + randomText(10);
  if (!given) memory.save("worker", worker);
  return worker.slice(0, 100);
}

const worker = workerName();
const questions = plan(worker);
const record = memory.load("answers/" + worker) || {
  schema: "fsv2v.answers/1", study: study.study, worker, code: study.code || randomText(8), started: new Date().toISOString(), finished: null, answers: [],
};
const remember = () => memory.save("answers/" + worker, record);


// Videos: loaded one question ahead, and played in sync

/** Make the card of question number `index`, and start loading its videos. */
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
    video.muted = true;  // the attribute has no effect in a cloned element
    video.addEventListener("error", () => problem("A video cannot be loaded or played. Check your connection and reload the page, or try another browser."));
  });
  card.hidden = true;
  element("stage").append(card);
  return { card, buttons, videos, index, begun: 0 };
}

const LEAD = 0.1;  // seconds by which a video may be ahead of the slowest one
let currentCard = null;  // the card that is shown
let nextCard = null;     // the card of the next question
let paused = matchMedia("(prefers-reduced-motion: reduce)").matches;

/** Called every few hundredths of a second: starts all videos together, pauses those that are ahead, and repeats them when all have ended. */
function keepInStep() {
  if (!currentCard || currentCard.chosen !== undefined) return;
  const { videos, buttons } = currentCard;
  if (paused || videos.some((video) => video.seeking)) return videos.forEach((video) => video.pause());
  const loading = videos.filter((video) => video.readyState < 2);
  if (loading.length) return videos.forEach((video) => (loading.includes(video) ? play(video) : video.pause()));  // some browsers load a video only while it plays
  const running = videos.filter((video) => !video.ended);
  if (!running.length) return videos.forEach((video) => { video.currentTime = 0; });
  const slowest = Math.min(...running.map((video) => video.currentTime));
  for (const video of running) {
    if (video.currentTime - slowest > LEAD) video.pause();
    else play(video);
  }
  if (!currentCard.begun) {
    currentCard.begun = performance.now();
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
  nextCard = makeCard(done);
  show("intro");
}

function ask() {
  const index = record.answers.length;
  if (index === questions.length) return end();
  if (currentCard) currentCard.card.remove();
  currentCard = nextCard;
  currentCard.card.hidden = false;
  nextCard = index + 1 < questions.length ? makeCard(index + 1) : null;
  element("bar").max = questions.length;
  element("bar").value = index;
  element("count").textContent = `${index + 1} of ${questions.length}`;
  show("test");
  element("ask").focus({ preventScroll: true });
}

/** Record the answer to a question; side: 0 for video 1, 1 for video 2. Only the first call counts, and only after the videos have begun to play. */
function choose(side) {
  if (!currentCard || !currentCard.begun || currentCard.chosen !== undefined || element("test").hidden) return;
  currentCard.chosen = side;
  const { id, shown } = questions[currentCard.index];
  const seconds = Math.round(performance.now() - currentCard.begun) / 1000;
  record.answers.push({ question: id, shown, chosen: shown[side], seconds });
  if (record.answers.length === questions.length) record.finished = new Date().toISOString();
  remember();
  currentCard.buttons[side].classList.add("chosen");
  currentCard.videos.forEach((video) => video.pause());
  setTimeout(ask, 200);  // so that the worker sees the choice
}

function end() {
  currentCard = null;
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

/** Send the answers as text/plain, for which browsers need no preflight request. A server of another origin must still allow this page to read
 *  its reply (CORS). */
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
      element("sent").textContent = `Your answers could not be sent (${error.message}). Send them again, or download them and send in the file.`;
      element("again").hidden = false;
      return;
    }
  }
  element("sent").textContent = "Your answers have arrived.";
  element("hand-in").hidden = true;
  element("download").classList.remove("main");
}


// Events of buttons and keys

element("start").addEventListener("click", ask);
element("pause").addEventListener("click", () => setPaused(!paused));
element("download").addEventListener("click", download);
element("again").addEventListener("click", send);
element("copy").addEventListener("click", () => {
  getSelection().selectAllChildren(element("code"));
  document.execCommand("copy");  // unlike navigator.clipboard, it works without HTTPS
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

document.querySelectorAll(".ask").forEach((heading) => { heading.textContent = study.ask; });
setPaused(paused);
setInterval(keepInStep, 40);
if (record.answers.length < questions.length) intro();
else end();
