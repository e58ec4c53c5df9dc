// The page: sends the review to the API, shows the verdict and the words that led to it.
// Everything that comes from outside is put into the page as text, never as markup.
"use strict";

const EXAMPLES = {
  good: "A wonderful film. The acting is superb, the story is moving and beautifully told, and I loved every minute of it.",
  bad: "What a waste of time. The plot is boring, the dialogue is awful and the acting is terrible. I could not wait for it to end.",
  torn: "The first half is excellent and very funny, but the ending is a mess: predictable, too long and a little boring.",
};

const TIMEOUT_MS = 35_000;

const element = (id) => document.getElementById(id);
const PERCENT = new Intl.NumberFormat("en", { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 });
// No model is 100 % sure: what rounds to that is shown as 99.9 %.
const percent = (share) => PERCENT.format(Math.min(share, 0.999));

function apiAddress() {
  const config = window.sentiment ?? {};
  const byName = !location.pathname.startsWith("/_aws/");
  return byName || !config.apiByPath ? config.api : config.apiByPath;
}

class Problem extends Error {
  constructor(title, text) {
    super(text);
    this.title = title;
  }
}

async function judge(review) {
  const address = apiAddress();
  if (!address) {
    throw new Problem("This page does not know its API", "config.js names no address. Publish the page again.");
  }
  let response;
  try {
    response = await fetch(address, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ review }),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
  } catch (error) {
    if (error.name === "TimeoutError") {
      throw new Problem("No answer in time", "The model took longer than half a minute. Try again in a moment.");
    }
    throw new Problem("The API cannot be reached",
      `Nothing answers at ${new URL(address).host}. Is the server running? If it was stopped, start it and try again.`);
  }
  const answer = await response.json().catch(() => ({}));
  if (response.ok && typeof answer.probability === "number") return answer;
  throw problemOf(response.status, answer);
}

function problemOf(status, answer) {
  const said = typeof answer.message === "string" ? answer.message : `The API answered with status ${status}.`;
  switch (answer.code) {
    case "EndpointNotRunning":
    case "EndpointNotReachable":
      return new Problem("The model's endpoint is not running",
        `${said} Once it is in service, this page works again.`);
    case "NoKnownWords": return new Problem("No word it knows", said);
    case "TooBusy": return new Problem("Too busy just now", said);
    default:
      if (status === 400) return new Problem("That cannot be judged", said);
      if (status === 504) return new Problem("No answer in time", "The function took too long. Try again in a moment.");
      return new Problem("Something went wrong", said);
  }
}

function tell(text, { seen = true } = {}) {
  element("status").textContent = text;
  element("status").classList.toggle("spoken-only", !seen);
}

function wordItem({ word, count, without, effect }, verdict, largest) {
  const item = document.createElement("li");
  item.className = effect > 0 ? "positive" : "negative";
  const line = document.createElement("div");
  line.className = "word-line";
  const name = document.createElement("span");
  name.className = "word";
  name.textContent = word;
  if (count > 1) {
    const times = document.createElement("span");
    times.className = "times";
    times.textContent = `× ${count}`;
    name.append(times);
  }
  const rest = document.createElement("span");
  rest.className = "without";
  rest.textContent = `without it ${percent(verdict === "positive" ? without : 1 - without)}`;
  line.append(name, rest);
  const bar = document.createElement("div");
  bar.className = "bar";
  bar.setAttribute("aria-hidden", "true");
  const length = document.createElement("div");
  length.style.width = `${Math.max(2, (100 * Math.abs(effect)) / largest)}%`;
  bar.append(length);
  item.append(line, bar);
  return item;
}

function show(answer) {
  const { verdict, probability, words } = answer;
  const certainty = verdict === "positive" ? probability : 1 - probability;
  const sign = verdict === "positive" ? 1 : -1;
  const largest = Math.max(...words.map(({ effect }) => Math.abs(effect)), Number.EPSILON);
  element("verdict-word").textContent = verdict === "positive" ? "Positive" : "Negative";
  element("certainty").textContent = `${percent(certainty)} sure`;
  element("needle").style.left = `${100 * probability}%`;
  element("for-title").textContent = `Spoke for “${verdict}”`;
  element("against-title").textContent = `Spoke against “${verdict}”`;
  for (const [id, belongs] of [["for", (w) => w.effect * sign > 0], ["against", (w) => w.effect * sign < 0]]) {
    const items = words.filter(belongs).map((word) => wordItem(word, verdict, largest));
    element(id).replaceChildren(...items);
    element(`${id}-none`).hidden = items.length > 0;
  }
  element("answer").dataset.verdict = verdict;
  element("answer").hidden = false;
  element("answer").scrollIntoView({ block: "nearest" });
  tell(`${verdict === "positive" ? "Positive" : "Negative"}, ${percent(certainty)} sure.`, { seen: false });
}

function showProblem(problem) {
  element("problem-title").textContent = problem.title ?? "Something went wrong";
  element("problem-text").textContent = problem.message;
  element("problem").hidden = false;
  tell("");
}

let busy = false;

async function ask(event) {
  event.preventDefault();
  if (busy) return;
  const review = element("review").value.trim();
  element("problem").hidden = true;
  if (!review) {
    element("answer").hidden = true;
    showProblem(new Problem("There is no review yet", "Write a sentence or two about a film."));
    element("review").focus();
    return;
  }
  busy = true;
  element("ask").setAttribute("aria-disabled", "true");
  tell("Reading it …");
  try {
    show(await judge(review));
  } catch (problem) {
    element("answer").hidden = true;
    showProblem(problem);
  } finally {
    busy = false;
    element("ask").removeAttribute("aria-disabled");
  }
}

element("form").addEventListener("submit", ask);
element("review").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) element("form").requestSubmit();
});
for (const button of document.querySelectorAll("[data-example]")) {
  button.addEventListener("click", () => {
    element("review").value = EXAMPLES[button.dataset.example];
    element("form").requestSubmit();
  });
}
