// Changes that people ask for, those that are live for a time, what decided before, and the freeze of all of it.

import { turns } from "../api.js";
import { actions, summary, whole } from "../change-requests.js";
import { differences, ending, restoreRevision } from "../threshold-forms.js";
import { ago, ask, badge, empty, html, moment, nothing, notice, plural, table } from "../ui.js";
import { effect } from "../what-if.js";

export const title = "Changes";

export const mount = (context) => (context.rest[0] ? one(context, Number(context.rest[0])) : all(context));

async function one({ api, draw, every, onChange, may, signal }, number) {
  let request = null, preview = null, looked = false;
  const loading = turns();
  const load = async () => {
    const newest = loading();
    const found = await api.get(`/v1/change-requests/${number}`, { signal });
    if (!newest()) return;
    request = found;
    show();
    if (!looked && ["draft", "approved"].includes(request.state)) { looked = true; preview = await look(api, request, signal); show(); }
  };
  const show = () => draw(html`
    <p><a href="#/changes">All changes</a></p>
    <h1>Change ${number}</h1>
    ${whole(request, actions(request, may, load), preview ? html`<h2>Had it been live for the last day</h2>${preview.effects.map((found) => html`${preview.effects.length > 1 ? html`<h3>${found.label}</h3>` : nothing}${effect(preview, found.label)}`)}` : nothing)}`);
  onChange(() => load().catch(() => {}));
  await every(10_000, load);
}

/** What it would have done; null where no preview can say. */
async function look(api, { content }, signal) {
  if (content.kind !== "thresholds") return null;
  const places = new Set(content.moves.map((move) => JSON.stringify(move.when)));
  if (places.size !== 1 || content.moves.some((move) => move.after === null)) return null;
  const labels = Object.fromEntries(content.moves.map((move) => [move.label, move.after]));
  return api.post("/v1/thresholds/preview", { labels, when: content.moves[0].when }, { signal }).catch(() => null);
}

const among = (states) => states.map((one) => `state=${one}`).join("&");
const WAITING = among(["draft", "approved"]);
const DONE = among(["expired", "restored", "rejected", "withdrawn", "live"]);

async function all({ api, draw, every, onChange, may, signal }) {
  let waiting = [], timed = [], past = [], next = null, freeze = null, revisions = [], releases = [], pages = 1;

  const requests = (which, limit = 100, cursor = null) => api.get(`/v1/change-requests?limit=${limit}&${which}${cursor ? `&cursor=${cursor}` : ""}`, { signal });
  // However old: somebody may want to decide on each now, or its way back.
  const allOf = async (which, found = [], cursor = null) => {
    const page = await requests(which, 100, cursor);
    return page.next ? allOf(which, [...found, ...page.items], page.next) : [...found, ...page.items];
  };
  // As many pages as are shown, each behind the one before: what is over may have been live a moment ago.
  const before = async () => {
    let page = await requests(DONE, 20);
    const items = [...page.items];
    for (let shown = 1; shown < pages && page.next; shown++) items.push(...(page = await requests(DONE, 100, page.next)).items);
    return { items: items.filter((one) => one.state !== "live" || !one.expires_at), next: page.next };
  };
  const loading = turns();
  const load = async () => {
    const newest = loading();
    const [open, back, done, frozen, history, released] = await Promise.all([
      allOf(WAITING), allOf("for_a_time=true"), before(),
      api.get("/v1/freeze", { signal }), api.get("/v1/thresholds/revisions?limit=20", { signal }), api.get("/v1/releases?limit=20", { signal }),
    ]);
    if (!newest()) return;
    [waiting, timed] = [open, back];
    [past, next, freeze] = [done.items, done.next, frozen.freeze];
    [revisions, releases] = [history.items, released.items];
    show();
  };
  const more = () => { pages += 1; return load(); };
  const then = (made) => { if (made !== null) load(); };

  const halt = () => ask({
    title: "Freeze all changes",
    body: html`<p>Nobody changes thresholds, releases or experiments while it holds; the ways back stay open: restore, return, stop.</p>`,
    fields: [{ name: "reason", label: "Why" }, { name: "lasts", label: "For how long", type: "select", options: [["", "until somebody lifts it"], ["3600", "1 hour"], ["14400", "4 hours"], ["43200", "12 hours"], ["86400", "1 day"]] }],
    action: "Freeze",
    act: async ({ reason, lasts }) => { await api.post("/v1/freeze", { reason, lasts_s: lasts ? Number(lasts) : null }); notice("Frozen."); },
  }).then(then);
  const thaw = () => ask({
    title: "Lift the freeze",
    body: html`<p>What was due meanwhile happens then.</p>`,
    fields: [{ name: "reason", label: "Why" }],
    action: "Lift it",
    act: async ({ reason }) => { await api.post("/v1/freeze/lift", { reason }); notice("Changes go through again."); },
  }).then(then);
  const goBack = async (release) => then(await ask({
    title: `Return to release ${release.number}`,
    body: html`<p>${release.bundle.name}@${release.bundle.version} with threshold revision ${release.thresholds.revision} decides again, on every worker.</p>`,
    fields: [{ name: "reason", label: "Why" }, ...await ending()],
    action: "Return",
    act: async ({ reason, end_experiments = false }) => {
      const done = await api.post("/v1/releases/return", { release: release.number, reason, end_experiments });
      notice(`Release ${done.release} decides.`);
    },
  }));

  const list = (found, none, only) => (found.length ? html`<ul class="entries">${found.map((request) => summary(request, actions(request, may, load, only)))}</ul>` : empty(none));
  const show = () => {
    const operator = may("operator");
    draw(html`
      <div class="row"><div class="grow"><h1>Changes</h1>
        <p class="quiet">A threshold is moved, or asked for, on the page of its label (<a href="#/now">Now</a>).</p></div>
        ${operator && !freeze ? html`<button @click=${halt}>Freeze …</button>` : nothing}</div>
      ${freeze ? html`<section class="sheet row"><p class="grow">${badge("bad", "frozen")} Nothing changes but by restore and return, ${freeze.until ? `until ${moment(freeze.until)}` : "until somebody lifts it"}. ${freeze.author}, ${ago(freeze.at)}: ${freeze.reason}</p>
        ${operator ? html`<button @click=${thaw}>Lift …</button>` : nothing}</section>` : nothing}
      <section class="sheet"><h2>Waiting</h2>${list(waiting, "Nobody asks for anything.", ["publish", "approve"])}</section>
      <section class="sheet"><h2>Live for a time</h2>${list(timed, "Nothing that goes back by itself.", ["restore"])}</section>
      <section class="sheet"><h2>Threshold revisions</h2>${table("Threshold revisions, newest first", [
        { name: "revision", right: true, of: (r) => r.revision },
        { name: "when", of: (r) => ago(r.at) },
        { name: "who", of: (r) => r.author },
        { name: "why", of: (r) => r.reason },
        { name: "what", of: (r) => (r.changes.length ? html`<details><summary>${plural(r.changes.length, "threshold")}</summary>${differences(r.changes)}</details>` : "–") },
        { name: "", of: (r) => (r === revisions[0] ? badge("good", "decides") : operator ? html`<button @click=${() => restoreRevision(r).then(then)}>Restore …</button>` : nothing) },
      ], revisions)}</section>
      <section class="sheet"><h2>Releases</h2>${table("Releases, newest first", [
        { name: "release", right: true, of: (r) => r.number },
        { name: "when", of: (r) => ago(r.at) },
        { name: "bundle", of: (r) => `${r.bundle.name}@${r.bundle.version}` },
        { name: "revision", right: true, of: (r) => r.thresholds.revision },
        { name: "who", of: (r) => r.author },
        { name: "why", of: (r) => r.reason },
        { name: "", of: (r) => returns(r, operator, goBack) },
      ], releases)}</section>
      <section class="sheet"><h2>Asked for before</h2>${list(past, next ? "Nothing of late." : "Nothing yet.", ["restore"])}
        ${next ? html`<div class="buttons"><button @click=${more}>Older ones</button></div>` : nothing}</section>`);
  };

  onChange(() => load().catch(() => {}));
  await every(10_000, load);
}

const returns = (release, operator, goBack) => {
  if (release.state === "champion") return badge("good", "decides");
  if (release.state !== "earlier") return html`<a href="#/experiments/${release.experiments.at(-1)}">candidate</a>`;
  return operator ? html`<button @click=${() => goBack(release)}>Return …</button>` : nothing;
};
