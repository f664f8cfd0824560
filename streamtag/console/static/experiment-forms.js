// The dialogs that start experiments: any challenger, or a threshold that is tried before it is moved.

import { api, Problem } from "./api.js";
import { place } from "./threshold-forms.js";
import { ask, html, notice, score } from "./ui.js";

const REASON = { name: "reason", label: "Why", hint: "Kept with the change for ever." };
// Which problems that the API names belong to which field.
const OF_TOLERANCE = /\.tolerance: |is not understood|^others\b/;
const OF_CUTOFFS = /^(body\.)?(labels|segments\[\d+\])(?!.*(\.tolerance: |is not understood))/;
const OF_SHARE = /^share\b/;

/** How large a part of events a candidate gets; share: at first. */
export const shareField = (share) => ({ name: "share", label: "Share of events, in percent", type: "number", min: 0, max: 100, value: String(Number((100 * share).toPrecision(6))), about: OF_SHARE });
/** What was entered there, as the API takes it. */
export const shareOf = (percents) => Number((Number(percents) / 100).toPrecision(12));

/** Asks which bundle and thresholds to compare with the champion; resolves to null where nobody wants it. */
export async function startOne(bundles) {
  const named = bundles.map((one) => `${one.name}@${one.version}`);
  return ask({
    title: "Compare a challenger with the champion",
    body: html`<p>In shadow both score the same events, and only the champion's tags go out.</p>`,
    fields: [
      { name: "bundle", label: "Bundle", type: "select", options: [["", "the champion's, with other thresholds"], ...named.map((one) => [one, one])] },
      { name: "thresholds", label: "Thresholds", type: "select", options: [["keep", "those of the champion"], ["defaults", "the bundle's own"]] },
      { name: "labels", label: "But for these", type: "textarea", required: false, about: OF_CUTOFFS, hint: "One a line, e.g. spam=0.72. With the champion's bundle they alone are judged: nothing else can differ." },
      { name: "mode", label: "How", type: "select", options: [["shadow", "shadow: the candidate only looks on"], ["split", "split: it decides its share"]] },
      { ...shareField(1), hint: "In a split, begin small." },
      { name: "tolerance", label: "Each label's rate may move by", value: "±20%", about: OF_TOLERANCE },
      REASON,
    ],
    action: "Start",
    act: ({ bundle, thresholds, labels: lines, mode, share, tolerance, reason }) => {
      const labels = lines ? cutoffs(lines) : null;
      const judged = labels && !bundle ? only(Object.keys(labels), tolerance) : { others: tolerance };
      return start({ bundle: bundle || null, thresholds, labels, plan: { mode, share: shareOf(share), ...judged }, reason });
    },
  });
}

/** Compares a moved threshold with the live one, in shadow: nothing is tagged otherwise. */
export const tryMove = ({ name, id, when, before, after, preview, effect }) => ask({
  title: `Try ${name}${place(when) && ` (${place(when)})`}: ${score(before)} → ${score(after)}`,
  body: html`<p>Beside the champion, in shadow: both decide on the same events, and only the champion's tags go out. Its page says when ${name} is shown to be tagged otherwise than you allow, or not.</p>${effect}`,
  fields: [
    { name: "tolerance", label: "Its rate may move by", value: "±20%", about: OF_TOLERANCE, hint: expected(preview, id) },
    shareField(1), REASON,
  ],
  action: "Start",
  act: ({ tolerance, share, reason }) => start({ labels: { [id]: after }, when, plan: { share: shareOf(share), ...only([id], tolerance) }, reason }),
});

/** What a preview expects of a label's rate. */
function expected(preview, id) {
  const found = preview?.effects.find((one) => one.label === id);
  return found?.now.expected > 0 ? `Of the recorded events it would tag ${(found.then.expected / found.now.expected).toFixed(2)} times as many.` : "";
}

/** The part of a plan that judges these labels and no other. */
const only = (labels, tolerance) => ({ labels: Object.fromEntries(labels.map((one) => [one, tolerance])), others: "muted" });

async function start(body) {
  const started = await api.post("/v1/experiments", body);
  for (const warning of started.warnings) notice(warning);
  location.hash = `#/experiments/${started.experiment}`;
}

/** `spam=0.72`, one a line, as the API takes them. */
function cutoffs(text) {
  const found = new Map(), problems = [];
  for (const line of text.split("\n").map((one) => one.trim()).filter(Boolean)) {
    const [, label, value] = line.match(/^([^\s=]+)\s*=\s*(\S+)$/) ?? [];
    if (label === undefined) problems.push(`labels: “${line}” is not label=value`);
    else if (Number.isNaN(Number(value))) problems.push(`labels.${label}: ${value} is no number`);
    else if (found.has(label)) problems.push(`labels.${label}: stands there twice`);
    else found.set(label, Number(value));
  }
  if (problems.length) throw new Problem(0, { title: "not understood", detail: "The cut-offs cannot be read.", problems });
  return Object.fromEntries(found);
}
