// One label: its scores with the threshold as a line to drag, what a move would have done, and its history.

import { chart } from "../chart.js";
import { histogram } from "../histogram.js";
import { ago, ask, badge, count, facts, html, moment, nothing, notice, score, table } from "../ui.js";

export const title = "Label";

const SPANS = [[1, "1 hour"], [24, "1 day"], [168, "7 days"]];

export async function mount({ api, draw, every, onChange, may, rest, query, signal, who }) {
  const id = rest[0];
  let hours = Number(query.get("hours")) || 24;
  let label = null, base = null, preview = null, revisions = [], series = null, draft = null, asked = 0, error = null;

  const load = async () => {
    const [found, thresholds, history, windows] = await Promise.all([
      api.get(`/v1/labels/${encodeURIComponent(id)}?hours=${hours}`, { signal }),
      api.read("/v1/thresholds", { signal }),
      api.get("/v1/thresholds/revisions?limit=100", { signal }),
      api.get(`/v1/windows?size=${hours <= 1 ? "1m" : hours <= 24 ? "5m" : "1h"}&hours=${hours}`, { signal }),
    ]);
    const moved = label !== null && label.threshold !== found.threshold;
    [label, base] = [found, thresholds];
    revisions = history.items.filter((one) => one.changes.some((change) => change.label === id));
    series = windows.items.map((one) => ({ at: one.start_ms / 1000, ...(one.labels[id] ?? { events: 0, alerts: 0 }) }));
    if (draft === null || moved) draft = found.threshold;
    show();
  };

  // The newest question counts; an answer to an earlier one is dropped.
  const look = async () => {
    const mine = ++asked;
    if (draft === label.threshold) { preview = null; return show(); }
    try {
      const found = await api.post("/v1/thresholds/preview", { labels: { [id]: draft }, hours }, { signal });
      if (mine !== asked) return;
      [preview, error] = [found, null];
    } catch (problem) {
      if (mine !== asked || problem.name === "AbortError") return;
      [preview, error] = [null, problem];
    }
    show();
  };
  let timer;
  const move = (value) => {
    // The edge of a bin, where the preview is exact, in the millionths that scores are compared in.
    draft = Math.ceil((Math.min(1024, Math.max(0, Math.round(value * 1024))) * 1_000_000) / 1024) / 1_000_000;
    show();
    clearTimeout(timer);
    timer = setTimeout(look, 60);
  };

  // A change rests on what was there when the dialog opened, whatever the page has heard of since.
  const publish = (_, rests = base, wanted = draft) => ask({
    title: `${label.name ?? id}: ${score(label.threshold)} → ${score(wanted)}`,
    body: preview ? effect() : nothing,
    fields: [
      { name: "reason", label: "Why", hint: "Kept with the change for ever." },
      ...(preview?.guard_rail?.length ? [{ name: "force", label: "This is a large step. Pass the guard rail.", type: "checkbox" }] : []),
    ],
    act: async ({ reason, force = false }) => {
      const done = await api.patch("/v1/thresholds", { labels: { [id]: wanted }, reason, force }, { headers: { "If-Match": rests.etag } })
        .catch(async (problem) => { throw problem.status === 412 ? await whatDiffers(problem, rests.body) : problem; });
      notice(done.committed ? `Revision ${done.revision} is published.` : "Nothing differed.");
      preview = null;
      await load();
    },
  });

  /** Adds to a refusal what somebody else has changed meanwhile. */
  const whatDiffers = async (problem, before) => {
    const now = await api.get("/v1/thresholds", { signal });
    problem.problems = differences(before.thresholds, now.thresholds);
    problem.hint = "The page shows the new state. Close this, look again, and publish if it is still needed.";
    return problem;
  };

  const restore = (revision) => ask({
    title: `Restore revision ${revision.revision}`,
    body: html`<p>The whole set goes back to what ${revision.author} made on ${moment(revision.at)}.</p>`,
    fields: [{ name: "reason", label: "Why" }],
    action: "Restore",
    act: async ({ reason }) => {
      const done = await api.post("/v1/thresholds/restore", { revision: revision.revision, reason });
      notice(`Revision ${done.revision} is published.`);
      draft = null;
      await load();
    },
  });

  const effect = () => {
    const found = preview.effects.find((one) => one.label === id);
    if (!found) return html`<p class="quiet">No recorded event was scored for this label.</p>`;
    const per = (range) => {
      const [low, high] = [count(range.low / preview.hours), count(range.high / preview.hours)];
      return html`${count(range.expected / preview.hours)}${low === high ? nothing : html` <small>(${low} – ${high})</small>`}`;
    };
    return html`${facts([
      ["tags per hour now", per(found.now)],
      ["tags per hour then", per(found.then)],
      ["newly tagged, per hour", per(found.gained)],
      ["no longer tagged, per hour", per(found.lost)],
    ])}
    <p class="quiet">From ${count(found.events)} events of ${preview.hours.toFixed(1)} hours${preview.exact ? "" : "; some positions are missing"}.
      ${preview.others ? `${count(preview.others)} further events were decided by another bundle: nothing is known of their scores.` : ""}
      A range is what the width of a score bin leaves open.</p>`;
  };

  const span = (event) => { hours = Number(event.target.value); load().then(look); };

  const show = () => {
    const operator = may("operator") && (!who.labels || who.labels.includes(id));
    draw(html`
      <div class="row"><div class="grow">
        <h1>${label.name ?? id} ${label.critical ? badge("mark", "critical") : nothing}</h1>
        <p class="quiet">${label.description ?? ""} <code>${id}</code>, ${label.bundle}</p></div>
        <label><span>Time</span><select @change=${span}>${SPANS.map(([value, words]) => html`<option value=${value} ?selected=${value === hours}>${words}</option>`)}</select></label>
      </div>
      <section class="sheet">
        <h2>Scores of ${count(label.events)} events</h2>
        ${histogram({ bins: label.bins, live: label.threshold, draft, move: operator || may("viewer") ? move : null })}
        <div class="row">
          <label><span>Threshold</span><input type="number" min="0" max="1" step="0.001" .value=${String(draft)} @change=${(event) => move(Number(event.target.value))}></label>
          <span class="grow quiet">Drag the line, or use the arrow keys on it. Live is ${score(label.threshold)}${label.segments.length ? `; other in ${label.segments.map((one) => `${Object.entries(one.when).map(([d, v]) => `${d}=${v}`).join(", ")}: ${score(one.threshold)}`).join("; ")}` : ""}.</span>
          ${draft === label.threshold ? nothing : html`<button @click=${() => { draft = label.threshold; preview = null; show(); }}>Undo</button>
            ${operator ? html`<button class="main" @click=${publish}>Publish …</button>` : html`<span class="quiet">Your role may look, not change.</span>`}`}
        </div>
        ${error ? html`<p class="failure">${error.detail} ${error.hint}</p>` : nothing}
        ${preview ? effect() : nothing}
        ${preview?.guard_rail?.length ? html`<p>${badge("warn", "a large step")} ${preview.guard_rail.join("; ")}</p>` : nothing}
      </section>
      <section class="sheet"><h2>Rate over time</h2>
        <div class="chart" id="rate"></div>
      </section>
      <section class="sheet"><h2>History</h2>${table(`Revisions that moved ${id}`, [
        { name: "revision", of: (r) => r.revision },
        { name: "when", of: (r) => ago(r.at) },
        { name: "who", of: (r) => r.author },
        { name: "what", of: (r) => r.changes.filter((one) => one.label === id).map((one) => html`<div>${one.words}</div>`) },
        { name: "why", of: (r) => r.reason },
        { name: "", of: (r) => (operator ? html`<button @click=${() => restore(r)}>Restore …</button>` : nothing) },
      ], revisions, { none: "Nobody has moved it yet." })}</section>`);
    const place = document.getElementById("rate");
    if (place && series !== drawn) {
      drawn = series;
      chart(place, {
        label: `rate of ${id}`,
        x: series.map((one) => one.at),
        lines: [{ name: "rate", values: series.map((one) => (one.events ? (100 * one.alerts) / one.events : null)), unit: "%" }],
        marks: revisions.map((one) => ({ at: Date.parse(one.at) / 1000, name: `r${one.revision}` })),
      });
    }
  };
  let drawn = null;

  onChange(() => load().catch(() => {}));
  await every(10_000, load);
}

/** Each cut-off that is another now, in words. */
function differences(before, now) {
  const flat = ({ labels, segments }) => new Map([
    ...Object.entries(labels),
    ...segments.flatMap((one) => Object.entries(one.labels).map(([id, value]) => [`${id} where ${Object.entries(one.when).map(([d, v]) => `${d}=${v}`).join(", ")}`, value])),
  ]);
  const [was, is] = [flat(before), flat(now)];
  return [...new Set([...was.keys(), ...is.keys()])].filter((id) => was.get(id) !== is.get(id)).map((id) => `${id}: ${score(was.get(id))} → ${score(is.get(id))}`);
}
