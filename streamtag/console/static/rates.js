// What is loud: rates against their own normal, and signals, in words.

import { badge, html, percent } from "./ui.js";

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
