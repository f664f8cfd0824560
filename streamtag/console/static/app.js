// The frame around every page: who is signed in, where one is, what decides now, and what happens meanwhile.

import { api, may, session, signIn, signOut, turns } from "./api.js";
import { words as done } from "./audit-words.js";
import { ago, badge, failure, html, nothing, notice, render } from "./ui.js";

// The module of each page gives `title` and `mount(context)`; a page lives until its signal is aborted.
const PAGES = [
  { path: "now", name: "Now" },
  { path: "changes", name: "Changes" },
  { path: "experiments", name: "Experiments" },
  { path: "fleet", name: "Fleet" },
  { path: "ledger", name: "Ledger" },
  { path: "dead-letters", name: "Dead letters", role: "reviewer" },
  { path: "models", name: "Models" },
  { path: "try", name: "Try it" },
  { path: "audit", name: "Audit" },
];
const HIDDEN = ["label", "sign-in"];

const main = document.getElementById("main");
const listeners = new Set();
let who = null;
let champion = null;
let freeze = null;
let leave = new AbortController();

function where() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [page, ...rest] = path.split("/").map(decodeURIComponent);
  return { page: page || "now", rest, query: new URLSearchParams(query) };
}

async function show() {
  leave.abort();
  leave = new AbortController();
  const { page, rest, query } = where();
  const known = PAGES.some((one) => one.path === page) || HIDDEN.includes(page);
  const name = who === null ? "sign-in" : known ? page : "now";
  frame(name);
  const { signal } = leave;
  const root = document.createElement("div");
  const context = {
    api, rest, query, signal, who,
    may: (role) => may(who, role),
    /** Draws the page. */
    draw: (template) => { if (!signal.aborted) render(template, root); },
    /** Calls `load` now and every so often while the page is looked at; a failure is shown above the page. */
    every: (ms, load) => repeat(ms, load, signal),
    /** Calls `heard` with each change that anybody commits. */
    onChange: (heard) => { listeners.add(heard); signal.addEventListener("abort", () => listeners.delete(heard)); },
    signedIn: async (found) => { who = found; await follow(); location.hash = "#/now"; await show(); },
  };
  try {
    const module = await import(`./pages/${name}.js`);
    if (signal.aborted) return;
    document.title = `${module.title} – streamtag`;
    main.replaceChildren(root);
    await module.mount(context);
  } catch (error) {
    if (!signal.aborted) { main.replaceChildren(root); render(failure(error), root); }
  }
}

function repeat(ms, load, signal) {
  const problem = document.createElement("div");
  let timer;
  const run = async () => {
    clearTimeout(timer);
    try {
      if (!document.hidden) await load();
      if (!signal.aborted) problem.remove();
    } catch (error) {
      if (signal.aborted || error.name === "AbortError") return;
      if (error.status === 401) { who = null; return show(); }
      render(failure(error), problem);
      main.prepend(problem);
    }
    if (!signal.aborted) timer = setTimeout(run, ms);
  };
  const seen = () => { if (!document.hidden) run(); };
  document.addEventListener("visibilitychange", seen, { signal });
  signal.addEventListener("abort", () => clearTimeout(timer));
  return run();
}

function frame(page) {
  const top = document.getElementById("top");
  if (who === null) return render(html`<a class="brand" href="#/now">streamtag</a>`, top);
  const link = (one) => html`<li><a href="#/${one.path}" aria-current=${page === one.path ? "page" : "false"}>${one.name}</a></li>`;
  render(html`
    <a class="brand" href="#/now">streamtag</a>
    <nav aria-label="Pages"><ul>${PAGES.filter((one) => may(who, one.role ?? "viewer")).map(link)}</ul></nav>
    <div class="state">${freeze ? html`<a href="#/changes" title="${freeze.author}: ${freeze.reason}">${badge("bad", "frozen")}</a>` : nothing} ${champion && live()}</div>
    <div class="who">
      <span title="role: ${who.role}">${who.name}</span>
      <button class="plain" @click=${theme} aria-label="Light or dark">◐</button>
      <button class="plain" @click=${out} title="Signed in as ${who.name}, ${who.role}">Sign out</button>
    </div>`, top);
}

function live() {
  const words = { yes: "live everywhere", no: "not live everywhere" }[champion.live] ?? "unknown whether live";
  return html`<a href="#/fleet" title="${champion.author}: ${champion.reason}">
    ${badge(champion.live === "yes" ? "good" : "warn", words)}
    release ${champion.release} <span class="quiet">${champion.bundle}, ${ago(champion.at)}</span></a>`;
}

function theme() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = document.documentElement.dataset.theme ?? (dark ? "dark" : "light");
  const next = now === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  localStorage.setItem("theme", next);
}

async function out() {
  try { await signOut(); } catch (problem) { return notice(`You are still signed in: ${problem.message}`, "bad"); }
  who = null;
  await show();
}

// -- what happens meanwhile ---------------------------------------------------------------------------------------

const FOLLOW_AGAIN_MS = 5_000;
let source = null;
let retry;

async function follow() {
  clearTimeout(retry);
  source?.close();
  // A browser opens six connections to one host, over all of its tabs: those that nobody sees do without.
  const opened = source = document.hidden ? null : new EventSource("/v1/changes");
  opened?.addEventListener("change", async (event) => {
    const change = JSON.parse(event.data);
    notice(`${change.author ?? change.by ?? "somebody"}: ${done(change.action)}${change.note ? ` (${change.note})` : ""}`);
    await refresh();
    for (const heard of listeners) heard(change);
  });
  opened?.addEventListener("error", () => {
    // By its specification it gives up for good on an answer such as 503.
    if (opened === source && opened.readyState === EventSource.CLOSED) retry = setTimeout(follow, FOLLOW_AGAIN_MS);
  });
  await refresh();
}

const UNDER_WAY_MS = 30_000;
const asking = turns();
let again;

async function refresh() {
  clearTimeout(again);
  const newest = asking();
  if (who === null) {
    clearTimeout(retry);
    return source?.close();
  }
  let found = [null, { freeze: null }];
  try { found = await Promise.all([api.get("/v1/releases/current"), api.get("/v1/freeze")]); } catch { /* said as unknown */ }
  if (!newest()) return;
  [champion, { freeze }] = found;
  frame(where().page);
  // Soon where a change is on its way to the workers, else now and then: a broker may never say who its members are.
  const underWay = champion !== null && champion.live !== "yes" && Date.now() - new Date(champion.at) < UNDER_WAY_MS;
  again = setTimeout(refresh, underWay ? 300 : 10_000);
}

// Whatever a page left behind unanswered: nothing where somebody has left it, else it is said.
addEventListener("unhandledrejection", (event) => {
  event.preventDefault();
  if (event.reason?.name !== "AbortError") notice(`${event.reason?.title ?? "failed"}: ${event.reason?.message ?? event.reason}`);
});

async function start() {
  const chosen = localStorage.getItem("theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
  document.getElementById("skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });
  addEventListener("hashchange", () => { show(); main.focus(); });
  document.addEventListener("visibilitychange", () => { if (who !== null) follow(); });
  // The demo's address brings a token behind the #, which is never sent. It must not stay where one can read it.
  const given = location.hash.match(/^#(st_[\w-]+)$/);
  if (given) history.replaceState(null, "", "#/now");
  try {
    who = given ? await signIn(given[1]) : await session();
    if (who !== null) follow();
    await show();
  } catch (error) {
    render(failure(error), main);
  }
}

start();
