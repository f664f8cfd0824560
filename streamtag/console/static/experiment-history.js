// Evidence on one label over time against the bounds that settle it: as a chart, in a sentence, and as a table.

import { chart } from "./chart.js";
import { chosen, count, empty, html, moment, percent, plural, table } from "./ui.js";

const RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹";
const FLOOR = -1; // below a tenth nothing is shown: it only says that the other claim is true

/** Of a natural logarithm the decimal one. */
const tens = (log) => (log === null ? null : log / Math.LN10);

/** Evidence by its decimal logarithm: 0.3, 20, 1,600, 10⁴⁶. */
function words(ten) {
  if (ten === null || ten === undefined) return "–";
  if (ten < -2) return "under 0.01";
  if (ten >= 6) return `10${[...String(Math.floor(ten))].map((digit) => RAISED[digit]).join("")}`;
  return Number((10 ** ten).toPrecision(2)).toLocaleString("en");
}

/** What either bound makes of the experiment, in the order of `lines`. */
function bounds({ plan }, history, label) {
  const { worse_from: worse, equal_from: equal } = history.labels[label];
  const fails = plan.on_worse === "fail" || plan.labels[label].critical;
  return [[fails ? "FAIL" : "warning", tens(worse)], ["PASS", tens(equal)]].map(([name, at]) => ({ at, name: `${name} from ${words(at)}` }));
}

const lines = (history, label) => history.items.map((one) => ({ ...one, worse: tens(one.labels[label].log_e_worse), equal: tens(one.labels[label].log_e_equal) }));

const judged = ({ plan }) => Object.keys(plan.labels).filter((one) => !plan.labels[one].muted);

/** The label to look at first: that with most evidence of being worse. */
export const foremost = (experiment) => experiment.labels.find((one) => !one.muted)?.label ?? judged(experiment)[0];

/** history: as the API answers for `label`; null while it is asked for. choose: called with another label. */
export function section(experiment, history, label, choose) {
  return html`<section class="sheet">
    <div class="row"><h2 class="grow">Evidence over time</h2>
      <label><span>Label</span><select @change=${(event) => choose(event.target.value)}>${judged(experiment).map((one) => html`<option value=${one} ?selected=${one === label}>${one}</option>`)}</select></label></div>
    ${history?.items.length ? looks(experiment, history, label) : none(experiment, history)}</section>`;
}

const runs = ({ state }) => state === "running" || state === "stale";

const none = (experiment, history) => (history === null ? empty("…")
  : runs(experiment) && !experiment.evidence?.units ? empty("Nothing has been counted of it yet.")
  : empty("No look at it is kept.", "It was judged before any were, or more than 90 days ago. What it came to stands above all the same."));

function looks(experiment, history, label) {
  const seen = lines(history, label), now = seen.at(-1), [worse, equal] = bounds(experiment, history, label);
  return html`
    <p>After ${plural(now.units, "unit")}, evidence that ${label} is worse stands at <strong>${words(now.worse)}</strong> (${worse.name}), that it is equal at <strong>${words(now.equal)}</strong> (${equal.name}).</p>
    <div class="chart" id="evidence"></div>
    <p class="quiet">Evidence of 20: were there nothing to find, so much would ever be seen in at most one of 20 experiments, however often one looks. A line that leaves the chart above has more than enough. PASS needs every judged label.</p>
    <details><summary>The same as a table: ${plural(seen.length, "look")}</summary>${table(`Evidence on ${label}, the newest look first`, [
      { name: "when", of: (one) => moment(one.at) },
      { name: "units", right: true, of: (one) => count(one.units) },
      { name: "evidence of worse", right: true, of: (one) => words(one.worse) },
      { name: "of equal", right: true, of: (one) => words(one.equal) },
      { name: "control", right: true, of: (one) => percent(one.labels[label].control_rate) },
      { name: "candidate", right: true, of: (one) => percent(one.labels[label].candidate_rate) },
    ], [...seen].reverse())}</details>`;
}

/** Draws it into `place`: from the start on, where no evidence is 1. */
export function draw(place, experiment, history, label) {
  const seen = lines(history, label), [worse, equal] = bounds(experiment, history, label);
  const began = Date.parse(experiment.at), start = began < Date.parse(seen[0].at) ? [{ at: began, worse: 0, equal: 0 }] : [];
  const points = [...start, ...seen];
  const top = Math.max(worse.at, equal.at), most = Math.max(...points.flatMap((one) => [one.worse, one.equal]));
  chart(place, {
    label: `Evidence on ${label} over time, logarithmic: worse at ${words(seen.at(-1).worse)}, ${worse.name}; equal at ${words(seen.at(-1).equal)}, ${equal.name}`,
    x: points.map((one) => new Date(one.at) / 1000),
    until: runs(experiment) ? Date.now() / 1000 : Date.parse(seen.at(-1).at) / 1000 + 1,
    lines: [
      { name: "worse", values: points.map((one) => one.worse), colour: "--bad", words },
      { name: "equal", values: points.map((one) => one.equal), colour: "--good", dash: true, words },
    ],
    levels: [{ ...worse, colour: "--bad" }, { ...equal, colour: "--good", side: "left" }],
    marks: experiment.phases.slice(1).map((one) => ({ at: Date.parse(one.began_at) / 1000, name: `share ${chosen(one.share)}` })),
    y: { range: [FLOOR, Math.max(1.2 * top, Math.min(3 * top, 1.05 * most))], steps: [1, 2, 5], words },
  });
}
