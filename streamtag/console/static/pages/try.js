// A text as the stream would decide it now: labels, scores beside their thresholds, and what in it speaks for them.

import { badge, empty, failure, html, nothing, score } from "../ui.js";

export const title = "Try it";

export async function mount({ api, draw, signal }) {
  let found = null, error = null, busy = false, labels = new Map(), chosen = null;

  const ask = async (event) => {
    event.preventDefault();
    const form = event.target.elements;
    const [text, lang] = [form.text.value, form.lang.value.trim()];
    [busy, error] = [true, null];
    show();
    try {
      const one = lang ? { text, lang } : { text };
      found = { text, ...await api.post("/v1/score", { events: [one], explain: true }, { signal }) };
      chosen = null;
    } catch (problem) {
      if (problem.name === "AbortError") return;
      [found, error] = [null, problem];
    }
    busy = false;
    show();
  };

  const show = () => draw(html`
    <h1>Try it</h1>
    <p class="quiet">What the present release makes of a text. Nothing of it is kept, counted, or sent on.</p>
    <form class="sheet" @submit=${ask}>
      <label><span>Text</span><textarea name="text" rows="5" class="whole" required autofocus></textarea></label>
      <div class="row">
        <label><span>Language, if it matters</span><input name="lang" size="6" placeholder="en" maxlength="20"></label>
        <button class="main" ?disabled=${busy}>${busy ? "…" : "Score"}</button>
      </div>
    </form>
    ${error ? failure(error) : nothing}
    ${found ? answer() : nothing}`);

  const answer = () => {
    const [one] = found.results;
    if (one.error) return html`<div class="failure" role="alert"><strong>Would be a dead letter.</strong> ${one.error}</div>`;
    const given = new Map(one.tags.map((tag) => [tag.label, tag]));
    const rows = Object.entries(one.scores).map(([id, value]) => ({
      id, value, tag: given.get(id), threshold: one.thresholds[id], name: labels.get(id)?.name ?? id,
    }));
    rows.sort((a, b) => Boolean(b.tag) - Boolean(a.tag) || b.value - a.value);
    return html`<section class="sheet" aria-live="polite">
      <h2>${given.size ? `${given.size} label${given.size > 1 ? "s" : ""}: ${[...given.keys()].map((id) => labels.get(id)?.name ?? id).join(", ")}` : "Clean: no label"}</h2>
      <p class="quiet">Decided by release ${found.release.number}, ${bundle(found.release.bundle)}.</p>
      <ul class="scores">${rows.map(row)}</ul>
    </section>
    ${explained(one, rows)}`;
  };

  const explained = (one, rows) => {
    const all = one.explanations ?? [];
    if (all.length === 0) return nothing;
    const now = all.find((each) => each.label === chosen) ?? all.find((each) => each.label === rows[0].id) ?? all[0];
    return html`<section class="sheet"><h2>What speaks for it</h2>
      <div class="row"><label><span>Label</span><select @change=${(event) => { chosen = event.target.value; show(); }}>
        ${all.map((each) => html`<option value=${each.label} ?selected=${each === now}>${labels.get(each.label)?.name ?? each.label}</option>`)}</select></label>
        <span class="quiet"><mark>raises</mark> the score, <mark class="lowers">lowers</mark> it; the stronger the colour, the more.</span></div>
      <p class="explained">${spans(found.text, now.spans ?? [])}</p></section>`;
  };

  show();
  const known = await api.get("/v1/labels", { signal });
  labels = new Map(known.items.map((one) => [one.id, one]));
  if (labels.size === 0) draw(empty("There is no label yet.", "The first worker to start brings them."));
}

const bundle = (found) => (typeof found === "string" ? found : found ? `${found.name}@${found.version}` : "");

/** A score as a bar, with its threshold as a line on it. */
const row = ({ id, name, value, threshold, tag }) => html`<li>
  <a href="#/label/${encodeURIComponent(id)}">${name}</a>
  <span class="meter" role="img" aria-label="score ${score(value)}, threshold ${score(threshold)}">
    <span class="fill ${tag ? "tagged" : ""}" .style=${`width:${(100 * value).toFixed(1)}%`}></span>
    <span class="cutoff" .style=${`left:${(100 * threshold).toFixed(1)}%`}></span>
  </span>
  <span class="right">${score(value)}</span>
  <span class="quiet">${tag ? "≥" : "<"} ${score(threshold)}</span>
  ${tag ? badge("warn", tag.action === "review" ? "for review" : "tagged") : html`<span></span>`}
</li>`;

/** The text, with the parts that move the score marked. Spans: [{start, end, weight}], in characters, apart. */
function spans(text, found) {
  const marks = found.filter((one) => one.weight).sort((a, b) => a.start - b.start);
  const most = Math.max(...marks.map((one) => Math.abs(one.weight)), 1e-9);
  const parts = [];
  let at = 0;
  const characters = [...text]; // offsets count characters, not UTF-16 units
  const cut = (from, to) => characters.slice(from, to).join("");
  for (const { start, end, weight } of marks) {
    if (start < at) continue;
    const strength = 0.25 + (0.75 * Math.abs(weight)) / most;
    parts.push(cut(at, start), html`<mark class=${weight < 0 ? "lowers" : ""} title="${weight > 0 ? "+" : ""}${weight.toFixed(3)}" .style=${`--strength:${strength.toFixed(2)}`}>${cut(start, end)}</mark>`);
    at = end;
  }
  parts.push(cut(at));
  return parts;
}
