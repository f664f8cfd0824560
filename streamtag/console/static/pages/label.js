// One label: its scores with the threshold as a line to drag, what a move would have done, and how it came here.

import { turns } from "../api.js";
import { chart } from "../chart.js";
import { tryMove } from "../experiment-forms.js";
import { histogram } from "../histogram.js";
import { change, changed, endOf, newestRates, rateOf, signal, standsStill } from "../rates.js";
import { reviewOnly, trustAgain } from "../breakers.js";
import { askForMove, differences, place, publishMove, restoreRevision } from "../threshold-forms.js";
import { ago, count, critical, empty, failure, html, moment, nothing, percent, plural, score, table, tile } from "../ui.js";
import { effect, hurdles } from "../what-if.js";

export const title = "Label";

const SPANS = [[1, "1 hour"], [24, "1 day"], [168, "7 days"]];
const windowSize = (hours) => (hours <= 1 ? "1m" : hours <= 24 ? "5m" : "1h");

export async function mount({ api, draw, every, onChange, may, rest, query, signal: left, who }) {
  const id = rest[0], named = encodeURIComponent(id), options = { signal: left };
  let hours = SPANS.some(([one]) => one === Number(query.get("hours"))) ? Number(query.get("hours")) : 24;
  let when = {}; // the segment whose threshold is looked at; none: all events
  let label = null, base = null, breaker = null, revisions = [], further = false, releases = [], series = null, segments = [], now = null, missing = null;
  let draft = null, preview = null, previewOf = "", error = null, drawn = null, timer;
  const loading = turns(), looking = turns();

  const live = () => label.segments.find((one) => place(one.when) === place(when))?.threshold ?? label.threshold;
  // The scores are those of the bundle that the API decides by, which takes a moment to load another.
  const behind = () => label.bundle !== base.body.bundle;

  const load = async () => {
    const newest = loading();
    const [found, thresholds, history, released, windows, shares, [rates, none], breakers] = await Promise.all([
      api.get(`/v1/labels/${named}?hours=${hours}`, options),
      api.read("/v1/thresholds", options),
      api.get("/v1/thresholds/revisions?limit=100", options),
      api.get("/v1/releases?limit=100", options),
      api.get(`/v1/windows?size=${windowSize(hours)}&hours=${hours}`, options),
      api.get(`/v1/labels/${named}/segments?hours=${hours}`, options),
      newestRates(api, "5m", options),
      api.get("/v1/breakers", options),
    ]);
    if (!newest()) return;
    const before = label && live();
    [base, now, missing, segments] = [thresholds, rates, none, shares.items];
    label = { ...found, ...decides(base.body.thresholds, found) };
    breaker = breakers.items.find((one) => one.label === id && one.open) ?? null;
    [revisions, further] = [history.items.filter((one) => one.changes.some((moved) => moved.label === id)), history.next !== null];
    releases = bundles(released.items);
    series = windows.items.map((one) => ({ at: one.start_ms / 1000, ...(one.labels[id] ?? { events: 0, alerts: 0 }) }));
    if (draft === null || before !== live()) { [draft, preview] = [live(), null]; looking(); }
    show();
  };

  // What a preview is of, and a dialog sends.
  const question = () => JSON.stringify([draft, when, hours, base.etag]);
  const look = async () => {
    clearTimeout(timer);
    const newest = looking(), about = question();
    if (draft === live()) { [preview, previewOf, error] = [null, about, null]; return show(); }
    try {
      const found = await api.post("/v1/thresholds/preview", { labels: { [id]: draft }, when, hours }, options);
      if (!newest()) return;
      [preview, previewOf, error] = [found, about, null];
    } catch (problem) {
      if (!newest() || problem.name === "AbortError") return;
      [preview, previewOf, error] = [null, "", problem];
    }
    show();
  };
  const set = (value) => {
    draft = value;
    show();
    clearTimeout(timer);
    timer = setTimeout(look, 60);
  };
  const move = (value) => set(edge(value));
  const type = ({ target }) => {
    if (!Number.isNaN(target.valueAsNumber)) set(within(target.valueAsNumber));
    target.value = String(draft); // also where the page knows of no change: nothing was typed, or too much
  };
  const undo = () => { draft = live(); look(); };
  const span = (event) => { hours = Number(event.target.value); load().then(look); };
  const choose = (event) => { when = JSON.parse(event.target.value); undo(); };
  const done = (made) => { if (made !== null) { draft = live(); load().then(look); } };
  // A click may come before the answer on what was typed last: what a dialog shows is of what it sends, or nothing.
  const open = async (dialog) => {
    if (previewOf !== question()) await look();
    if (left.aborted || behind() || draft === live()) return null;
    const seen = previewOf === question() ? preview : null;
    return dialog({ name: label.name ?? id, id, when, before: live(), after: draft, preview: seen, base, effect: seen ? effect(seen, id) : nothing });
  };
  const publish = () => open((about) => (about.preview?.needs.length ? askForMove : publishMove)(about)).then(done);
  const askFor = () => open(askForMove);
  const tryFirst = () => open(tryMove);
  const restore = (revision) => restoreRevision(revision).then(done);

  const buttons = () => {
    if (!may("operator") || (who.labels && !who.labels.includes(id))) return html`<span class="quiet">Your role may look, not change.</span>`;
    if (behind()) return nothing;
    const first = who.labels ? nothing : html`<button @click=${tryFirst}>Try it first …</button>`; // whose token is for some labels starts none
    if (preview?.needs.length) return html`${first}<button class="main" @click=${askFor}>Ask for it …</button>`;
    return html`${first}<button @click=${askFor}>Ask somebody …</button><button class="main" @click=${publish}>Publish …</button>`;
  };

  const show = () => {
    const operator = may("operator");
    const offered = places(segments, label, when);
    const rate = now?.labels[id], signals = now?.signals.filter((one) => one.labels.includes(id)) ?? [];
    draw(html`
      <div class="row"><div class="grow">
        <h1>${label.name ?? id}${critical(label)}</h1>
        <p class="quiet">${label.description ?? ""} <code>${id}</code>, ${label.bundle}</p></div>
        <label><span>Time</span><select @change=${span}>${SPANS.map(([value, words]) => html`<option value=${value} ?selected=${value === hours}>${words}</option>`)}</select></label>
      </div>
      ${now ? standsStill(now) : empty(missing.detail, missing.hint)}
      ${rate ? html`<div class="tiles">
        ${tile("rate, newest 5 minutes", rateOf(rate), `${count(rate.alerts)} of ${count(rate.events)} events, up to ${moment(endOf(now))}`)}
        ${tile("against the hour before", changed(change(rate)), `was ${percent(rate.rate_last_hour)}`)}
        ${tile("same hour last week", percent(rate.rate_last_week))}
        ${tile("threshold", score(label.threshold), label.segments.length ? `another in ${plural(label.segments.length, "segment")}` : "for all events")}
      </div>` : nothing}
      ${breaker ? reviewOnly(breaker, may("operator"), () => trustAgain(label.name ?? id, id).then(load)) : nothing}
      ${signals.length ? html`<section class="sheet"><ul class="signals">${signals.map(signal)}</ul></section>` : nothing}
      <section class="sheet">
        <h2>Scores of ${count(label.events)} events</h2>
        ${histogram({ bins: label.bins, live: live(), draft, move })}
        <div class="row">
          <label><span>Threshold</span><input type="number" min="0" max="1" step="any" .value=${String(draft)} @change=${type}></label>
          ${offered.length > 1 ? html`<label><span>Where</span><select @change=${choose}>${offered.map((one) => html`<option value=${JSON.stringify(one)} .selected=${place(one) === place(when)}>${place(one) || "all events"}</option>`)}</select></label>` : nothing}
          <span class="grow quiet">Drag the line, or use the arrow keys on it. Live is ${score(live())}.</span>
          ${draft === live() ? nothing : html`<div class="buttons start"><button class="plain" @click=${undo}>Undo</button>${buttons()}</div>`}
        </div>
        ${behind() ? html`<p>${base.body.bundle} shall decide, and the API has not loaded it: these scores are of ${label.bundle}. Move the threshold once they are of the same bundle.</p>` : nothing}
        ${error ? failure(error) : nothing}
        ${preview ? html`${hurdles(preview)}${effect(preview, id)}` : nothing}
      </section>
      <section class="sheet"><h2>Rate over time</h2><div class="chart" id="rate"></div></section>
      ${segments.length ? html`<section class="sheet"><h2>Segments</h2>${shares(segments, label, hours)}</section>` : nothing}
      <section class="sheet"><h2>History</h2>${table(`Revisions that moved ${id}`, [
        { name: "revision", of: (r) => r.revision },
        { name: "when", of: (r) => ago(r.at) },
        { name: "who", of: (r) => r.author },
        { name: "what", of: (r) => moved(r, id) },
        { name: "why", of: (r) => r.reason },
        { name: "", of: (r) => (operator ? html`<button @click=${() => restore(r)}>Restore …</button>` : nothing) },
      ], revisions, { none: further ? "Nobody has moved it in the newest 100 revisions." : "Nobody has moved it yet." })}</section>`);
    const plot = document.getElementById("rate");
    if (plot && series !== drawn) {
      drawn = series;
      chart(plot, {
        label: `Rate of ${id} over ${hours} hours`,
        x: series.map((one) => one.at),
        lines: [{ name: "rate", values: series.map((one) => (one.events ? (100 * one.alerts) / one.events : null)), unit: "%" }],
        marks: [...revisions.map((one) => ({ at: Date.parse(one.at) / 1000, name: `revision ${one.revision}` })), ...releases],
      });
    }
  };

  onChange(() => load().catch(() => {}));
  await every(10_000, load);
}

/**
 * The cut-offs of a label in a set: all that the page says and changes is of the one set that the ETag names. The label itself comes
 * with those that the API decides by, maybe of a moment ago.
 */
const decides = (set, { id, threshold }) => ({
  threshold: set.labels[id] ?? threshold,
  segments: set.segments.filter((one) => id in one.labels).map((one) => ({ when: one.when, threshold: one.labels[id] })),
});

/** As it was typed, in the millionths that scores are compared in. */
const within = (value) => Math.round(Math.min(1, Math.max(0, value)) * 1_000_000) / 1_000_000;
/** The edge of a bin, where a preview is exact; by hand nobody means one score and no other. */
const edge = (value) => Math.ceil((Math.round(within(value) * 1024) * 1_000_000) / 1024) / 1_000_000;

// Releases whose bundle differs from that of the one before them: what else may have moved a rate.
function bundles(items) {
  const decided = items.filter((one) => one.state === "champion" || one.state === "earlier");
  const name = ({ bundle }) => `${bundle.name}@${bundle.version}`;
  return decided.filter((one, i) => i + 1 < decided.length && name(one) !== name(decided[i + 1]))
    .map((one) => ({ at: Date.parse(one.at) / 1000, name: name(one) }));
}

/** Conditions to choose from: none at all, what is counted apart, what has a threshold of its own, and `when`. */
function places(segments, label, when) {
  const counted = segments.filter((one) => one.value !== "other").map((one) => ({ [one.dimension]: one.value }));
  const own = label.segments.map((one) => one.when).filter((one) => Object.keys(one).length === 1);
  return [...new Map([{}, ...counted, ...own, when].map((one) => [place(one), one])).values()];
}

const moved = (revision, id) => html`${revision.changes.filter((one) => one.label === id).map((one) => html`<div>${score(one.before)} → <strong>${score(one.after)}</strong> ${one.segment}</div>`)}
  ${revision.changes.some((one) => one.label !== id) ? html`<details><summary>all that it moved</summary>${differences(revision.changes)}</details>` : nothing}`;

function shares(segments, label, hours) {
  const sum = new Map();
  for (const { dimension, events, alerts } of segments) {
    const before = sum.get(dimension) ?? [0, 0];
    sum.set(dimension, [before[0] + events, before[1] + alerts]);
  }
  const times = ({ dimension, events, alerts }) => {
    const [all, tagged] = sum.get(dimension);
    return events && tagged ? alerts / events / (tagged / all) : null;
  };
  const own = ({ dimension, value }) => label.segments.find((one) => place(one.when) === place({ [dimension]: value }))?.threshold;
  return table(`Segments of ${label.id} over ${hours} hours`, [
    { name: "segment", of: (s) => `${s.dimension} = ${s.value}` },
    { name: "events", right: true, of: (s) => count(s.events) },
    { name: "tags", right: true, of: (s) => count(s.alerts) },
    { name: "rate", right: true, of: (s) => percent(s.events ? s.alerts / s.events : null) },
    { name: "against all", right: true, of: (s) => (times(s) === null ? "–" : `× ${times(s).toFixed(2)}`) },
    { name: "threshold", right: true, of: (s) => score(own(s) ?? label.threshold) },
  ], segments);
}
