// What is loud: rates against their own normal, and signals, in words.

import { badge, html, moment, nothing, percent } from "./ui.js";

const WIDTH_MS = { "1m": 60_000, "5m": 300_000, "1h": 3_600_000, "1d": 86_400_000 };
const COUNTED_WITHIN_MS = 60_000;

/** Where the newest window of a size ends, Unix milliseconds. */
export const endOf = ({ size, start_ms: start }) => start + WIDTH_MS[size];

/** The newest window of a size, or else why there is none: [rates, null] or [null, problem]. */
export const newestRates = (api, size, options) => api.get(`/v1/rates?size=${size}`, options).then((found) => [found, null], (problem) => {
  if (problem.status !== 404) throw problem;
  return [null, problem];
});

/** That the newest window is an old one: no event has been counted since, and rates of then must not read as of now. */
export const standsStill = (rates) => (Date.now() > endOf(rates) + WIDTH_MS[rates.size] + COUNTED_WITHIN_MS
  ? html`<p>${badge("warn", `no newer window since ${moment(endOf(rates))}`)} No event has been counted since: do <code>streamtag tagger</code>, <code>windows</code> and <code>stats</code> run?</p>`
  : nothing);

/**
 * How a rate stands to the hour before: {words, kind?}. `kind` only beyond the interval that holds at every moment: it
 * is then not a matter of looking often enough.
 */
export function change({ rate, interval, rate_last_hour: hour }) {
  if (rate === null || hour === null) return { words: "–" };
  const words = hour > 0 ? `× ${(rate / hour).toFixed(2)}` : rate > 0 ? "new" : "–";
  if (hour < interval[0]) return { kind: "warn", words: `▲ ${words}` };
  if (hour > interval[1]) return { kind: "warn", words: `▼ ${words}` };
  return { words };
}

/** The same as a badge, or as plain words where it is nothing to look at. */
export const changed = (found) => (found.kind ? badge(found.kind, found.words) : found.words);

/** A rate; its title says how sure it is. */
export const rateOf = ({ rate, interval }) => html`<span title="surely within ${percent(interval[0])} and ${percent(interval[1])} (95 %, at every moment)">${percent(rate)}</span>`;

const WHAT = {
  never: ["tags nothing any more", "Suspect the model or what feeds it, before you move a threshold."],
  always: ["tags nearly everything", "Suspect the model or what feeds it, before you move a threshold."],
  same_set: ["nearly every event gets the same labels", "Suspect the model or what feeds it, before you move a threshold."],
  score_drift: ["scores are spread otherwise than an hour ago", "Other traffic, or another model? Look at its segments and at what was released."],
  association: ["come together otherwise than an hour ago", "Look at both: one may have taken over what the other did."],
};

/** One signal: which labels, what happened, what to do, and the figures behind it for whoever wants them. */
export const signal = (one) => {
  const [what, todo] = WHAT[one.name] ?? [one.name, ""];
  const labels = one.labels.map((id, i) => html`${i ? " and " : ""}<a href="#/label/${encodeURIComponent(id)}">${id}</a>`);
  return html`<li>${badge("warn", "signal")} <strong>${labels.length ? labels : "all labels"}</strong>: ${what}. <span class="quiet">${todo}</span>
    <details><summary class="quiet">figures</summary><small>${one.words}</small></details></li>`;
};
