// What each label does now against its own normal, the loudest change first.

import { turns } from "../api.js";
import { change, changed, newestRates, rateOf, signal as told, standsStill } from "../rates.js";
import { badge, count, critical, empty, html, moment, nothing, percent, score, sparkline, table, tile, took } from "../ui.js";
import { nameOf, waiting } from "./fleet.js";

export const title = "Now";

const SIZES = ["1m", "5m", "1h"];

export async function mount({ api, draw, every, query, signal }) {
  let fleet = null, open = new Map();
  let size = SIZES.includes(query.get("size")) ? query.get("size") : "5m";
  let rates = null, problem = null, history = new Map(), labels = [];
  let historyAt = 0, fleetAsked = null;
  const loading = turns();

  // What asks Kafka may take its time, or fail: the rates do not wait for it, and nobody asks again meanwhile.
  const askFleet = () => {
    fleetAsked ??= api.get("/v1/fleet", { signal }).then((found) => { fleet = found; if (rates) show(); })
      .catch(() => { fleet = null; }).finally(() => { fleetAsked = null; });
  };
  const load = async () => {
    const newest = loading();
    askFleet();
    const [found, breakers, [latest, none]] = await Promise.all([
      api.get("/v1/labels", { signal }), api.get("/v1/breakers", { signal }), newestRates(api, size, { signal }),
    ]);
    const due = latest && Date.now() - historyAt > 30_000;
    const past = due && byLabel(await api.get("/v1/windows?size=5m&hours=6", { signal }));
    if (!newest()) return;
    if (due) [history, historyAt] = [past, Date.now()];
    open = new Map(breakers.items.filter((one) => one.open).map((one) => [one.label, one]));
    [labels, rates, problem] = [found.items, latest, none];
    show();
  };

  const choose = (event) => { size = event.target.value; load(); };

  const show = () => {
    const named = new Map(labels.map((one) => [one.id, one]));
    const rows = rates ? Object.entries(rates.labels).map(([id, found]) => ({ id, ...found, change: change(found), ...names(named.get(id)) })) : [];
    rows.sort((a, b) => loudness(b) - loudness(a));
    const events = Math.max(0, ...rows.map((one) => one.events));
    draw(html`
      <div class="row"><div class="grow"><h1>Now</h1>
        ${rates ? html`<p class="quiet">Window of ${rates.size} from ${moment(rates.start_ms)}${rates.exact ? "" : ", not exact: positions are missing or were counted twice"}</p>${standsStill(rates)}` : nothing}</div>
        <label><span>Window</span><select @change=${choose} .value=${size}>${SIZES.map((one) => html`<option value=${one} ?selected=${one === size}>${one}</option>`)}</select></label></div>
      ${rates ? html`
        <div class="tiles">
          ${tile("events", count(events))}
          ${tile("labels tagged", count(rows.filter((one) => one.alerts > 0).length), `of ${rows.length}`)}
          ${tile("beyond chance", count(rates.signals.length + rows.filter((one) => one.change.kind).length), rates.signals.length ? "signals, see below" : "changes and signals")}
          ${health(fleet)}
        </div>` : nothing}
      ${problem ? html`<section class="sheet">${empty(problem.detail, problem.hint)}</section>` : nothing}
      ${rates && rates.signals.length ? html`<section class="sheet"><h2>Beyond chance</h2>
        <ul class="signals">${rates.signals.map(told)}</ul></section>` : nothing}
      <section class="sheet">${table("Labels, the loudest change first", [
        { name: "label", of: (r) => html`<a href="#/label/${encodeURIComponent(r.id)}">${r.name}</a>${critical(r)}${open.has(r.id) ? html` ${badge("warn", "review only")}` : nothing}` },
        { name: "rate", right: true, of: (r) => rateOf(r) },
        { name: "last hour", right: true, of: (r) => percent(r.rate_last_hour) },
        { name: "last week", right: true, of: (r) => percent(r.rate_last_week) },
        { name: "change", of: (r) => changed(r.change) },
        { name: "6 hours", of: (r) => sparkline(history.get(r.id) ?? [], `rate of ${r.name} over six hours`) },
        { name: "tags", right: true, of: (r) => count(r.alerts) },
        { name: "mean score", right: true, of: (r) => score(r.mean_score) },
        { name: "threshold", right: true, of: (r) => score(r.threshold) },
      ], rows, { none: "No label was scored in this window." })}</section>`);
  };

  await every(5_000, load);
}

const names = (label) => ({ name: label?.name ?? label?.id ?? "", critical: label?.critical ?? false, threshold: label?.threshold });

function byLabel({ items }) {
  const found = new Map();
  items.forEach((window, i) => {
    for (const [label, { events, alerts }] of Object.entries(window.labels)) {
      if (!found.has(label)) found.set(label, Array(items.length).fill(null));
      found.get(label)[i] = events ? alerts / events : null;
    }
  });
  return found;
}

const loudness = ({ rate, rate_last_hour: hour, change: { kind }, alerts }) =>
  (kind ? 1e6 : 0) + (rate !== null && hour !== null ? Math.abs(Math.log((rate + 1e-6) / (hour + 1e-6))) * 1e3 : 0) + Math.min(alerts, 999) / 1e3;

/** Whether everybody works, keeps up, and how soon. */
function health(fleet) {
  if (fleet === null) return tile("workers ready", "–", html`nobody says; <a href="#/fleet">fleet</a>`);
  const { workers } = fleet;
  const ready = workers.filter((one) => one.ready).length;
  const lag = waiting(workers);
  const [slowest] = workers.filter((one) => one.latency_p99_ms !== null).sort((a, b) => b.latency_p99_ms - a.latency_p99_ms);
  return html`
    ${tile("workers ready", `${ready} of ${workers.length}`, html`<a href="#/fleet">${!workers.length ? "nobody tags" : ready === workers.length ? "fleet" : "who is not, and why"}</a>`)}
    ${tile("events behind", count(lag), lag === null ? "nobody says" : "over all workers")}
    ${tile("latency", took(slowest?.latency_p99_ms), slowest ? `99 % within this on the slowest worker, ${nameOf(slowest, fleet)}` : "nothing was decided lately")}`;
}
