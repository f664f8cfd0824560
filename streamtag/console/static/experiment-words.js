// What an experiment has come to, in words, and each label's evidence against the bound that it must reach.

import { badge, count, html, nothing, percent, table } from "./ui.js";

const STATES = {
  running: ["quiet", "collecting", "Neither is shown yet. It goes on by itself; looking often does no harm."],
  stale: ["warn", "stale", "Another release than its control decides now, so its evidence cannot go on. Stop it, and start a new one."],
  stopped: ["quiet", "stopped", "Somebody ended it before there was a verdict."],
  returned: ["warn", "taken back", "Its candidate passed a limit of its rollout, and was taken back by itself."],
  PASS: ["good", "pass", "Every judged label is shown to move by less than its tolerance. The candidate may decide."],
  FAIL: ["bad", "fail", "The candidate is worse by more than its tolerance. Leave the champion where it is."],
  INCONCLUSIVE: ["warn", "inconclusive", "Its time was over before either was shown. Run it for longer, with a larger share, or with a wider tolerance."],
  INVALID: ["warn", "invalid", "Units did not fall into the arms as assigned. Look for lost or doubled events (Ledger); do not blame the model."],
};

export const state = (experiment) => badge(...STATES[experiment.state].slice(0, 2));

export const release = (ref) => html`release ${ref.number}: ${ref.bundle.name}@${ref.bundle.version}, revision ${ref.revision}`;

/** The verdict, or what is known so far, and what to do. */
export const verdict = (experiment) => {
  const { evidence: found, stopped } = experiment;
  const settled = experiment.labels.filter((one) => !one.muted);
  const tally = ["worse", "equal", "open"].map((words) => [words, settled.filter((one) => one.words === words).length]).filter(([, n]) => n);
  return html`<section class="sheet">
    <p>${state(experiment)} ${STATES[experiment.state][2]}</p>
    ${found ? html`<p>${count(found.units)} units in ${found.hours.toFixed(found.hours < 10 ? 2 : 0)} hours: ${tally.map(([words, n], i) => html`${i ? ", " : ""}${n} ${words === "open" ? "not settled" : words}`)}.
      ${found.conflicts ? `${count(found.conflicts)} units came in both arms.` : ""} ${found.shed ? `${count(found.shed)} events were left out, for want of time.` : ""}</p>
      ${found.reasons.length ? html`<ul class="findings">${found.reasons.map((one) => html`<li>${one}</li>`)}</ul>` : nothing}
      ${found.units ? nothing : html`<p class="quiet">No unit has been counted: do <code>streamtag tagger</code>, <code>windows</code> and <code>stats</code> run?</p>`}`
      : html`<p class="quiet">Nobody has looked at it yet: <code>streamtag stats</code> does, with every pane of ten seconds.</p>`}
    ${stopped ? html`<p class="quiet">Ended by ${stopped.author}: ${stopped.reason}</p>` : nothing}
  </section>`;
};

/** Arms side by side, label by label: those that are judged, and behind them those that are only watched. */
export const labels = (experiment) => {
  const watched = experiment.labels.filter((one) => one.muted);
  return html`${arms(experiment, experiment.labels.filter((one) => !one.muted), "Labels, control beside candidate")}
    ${watched.length ? html`<details><summary>${watched.length} only watched</summary>${arms(experiment, watched, "Labels that are only watched")}</details>` : nothing}`;
};

const arms = (experiment, rows, caption) => table(caption, [
  { name: "label", of: (one) => html`<a href="#/label/${encodeURIComponent(one.label)}">${one.label}</a>${experiment.plan.labels[one.label].critical ? html` ${badge("mark", "critical")}` : nothing}` },
  { name: "control", right: true, of: (one) => percent(one.control_rate) },
  { name: "candidate", right: true, of: (one) => percent(one.candidate_rate) },
  { name: "surely within", of: (one) => html`${span(one)} <small class="quiet">allowed ${tolerance(experiment.plan.labels[one.label])}</small>` },
  { name: "so", of: (one) => badge(...SO[one.words]) },
  { name: "evidence, of what it needs", of: (one) => (one.muted ? "–" : html`<div class="evidence">
    ${meter("worse", one.log_e_worse / one.worse_from)}${meter("equal", one.log_e_equal / one.equal_from)}</div>`) },
  { name: "to settle it", of: needed },
], rows, { none: "No label has been counted yet." });

const SO = { worse: ["bad", "worse"], equal: ["good", "equal"], open: ["quiet", "not settled"], muted: ["quiet", "only watched"] };

const span = ({ interval: [low, high], relative }) => (relative
  ? `${low.toFixed(2)} to ${high === null ? "any" : high.toFixed(2)} times`
  : `${(100 * low).toFixed(2)} to ${(100 * high).toFixed(2)} points`);

const tolerance = ({ tolerance: { kind, size } }) => (kind === "relative" ? `${(1 / (1 + size)).toFixed(2)} to ${(1 + size).toFixed(2)} times` : `± ${Number((100 * size).toPrecision(4))} points`);

function meter(words, share) {
  const part = Math.max(0, Math.min(1, share));
  const percents = `${Math.floor(100 * part)}\u00a0%`;
  return html`<small class="quiet">${words}</small><span class="meter" role="img" aria-label="${words}: ${percents} of the evidence needed"><span class="fill ${words}" .style=${`width:${100 * part}%`}></span></span><small class="quiet">${percents}</small>`;
}

function needed(one) {
  if (one.muted || one.words !== "open") return html`<span class="quiet">${one.muted ? "–" : `wrong by chance: ${one.error < 0.0001 ? "less than 0.01 %" : percent(one.error)}`}</span>`;
  return one.units_needed === null ? "more units would not show it equal, if all goes on like this" : `about ${count(one.units_needed)} more units, if all goes on like this`;
}
