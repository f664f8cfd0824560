// The dialogs that move thresholds: at once, for a time, by asking somebody else, and back. Shared by pages.

import { api } from "./api.js";
import { ask, html, moment, nothing, notice, score, table } from "./ui.js";

export const FOR_HOW_LONG = [["", "until somebody changes it"], ["3600", "1 hour, then back"], ["7200", "2 hours, then back"], ["28800", "8 hours, then back"], ["86400", "1 day, then back"], ["604800", "1 week, then back"]];
const REASON = { name: "reason", label: "Why", hint: "Kept with the change for ever." };
/** Whether experiments that compare with the present release may end with a change; none where none runs. */
export async function ending() {
  const { items } = await api.get("/v1/experiments?limit=20");
  const running = items.filter((one) => one.state === "running").map((one) => one.experiment);
  return running.length ? [{ name: "end_experiments", type: "checkbox", label: `End experiment ${running.join(", ")}: what it compares with is gone then.` }] : [];
}

const LASTS = { name: "lasts", label: "For how long", type: "select", options: FOR_HOW_LONG };

/** `lang=de,tenant=a`, another for each condition and as the API names it; empty where it holds for all events. */
export const place = (when) => Object.entries(when).sort(([a], [b]) => (a < b ? -1 : 1)).map(([dimension, value]) => `${dimension}=${quoted(value)}`).join(",");

// What the name itself is made of is quoted: what somebody else chose must not read as another condition.
const quoted = (value) => (/[,="]/.test(value) ? JSON.stringify(value) : value);

/** Cut-offs that differ: [{segment, label, before, after}]. */
export const differences = (changes) => table("What differs", [
  { name: "label", of: (one) => html`<a href="#/label/${encodeURIComponent(one.label)}">${one.label}</a>` },
  { name: "where", of: (one) => one.segment || "all events" },
  { name: "before", right: true, of: (one) => score(one.before) },
  { name: "after", right: true, of: (one) => html`<strong>${score(one.after)}</strong>` },
  { name: "", of: ({ before, after }) => (before === null || after === null ? "" : after > before ? "▲ tags less" : "▼ tags more") },
], changes, { none: "Nothing differs." });

/** What turns the set `before` into `after`, as the API tells changes. */
export function compared(before, after) {
  const found = [];
  const segments = (set) => new Map(set.segments.map((one) => [place(one.when), one.labels]));
  const [old, now] = [segments(before), segments(after)];
  for (const [segment, from, to] of [["", before.labels, after.labels], ...[...new Set([...old.keys(), ...now.keys()])].map((key) => [key, old.get(key) ?? {}, now.get(key) ?? {}])]) {
    for (const label of new Set([...Object.keys(from), ...Object.keys(to)])) {
      const [was, is] = [from[label] ?? null, to[label] ?? null];
      if (was !== is) found.push({ segment, label, before: was, after: is });
    }
  }
  return found;
}

/** Says what has become of a change, and what of it does not stay. */
const tell = (done) => {
  for (const warning of done.warnings) notice(warning);
  notice(done.committed ? `Revision ${done.revision} is published.` : "Nothing differed.");
};

/** What names the thresholds that a change rests on, for the API to refuse it where others decide by now. */
const restsOn = (base) => ({ headers: { "If-Match": base.etag } });

/** Adds to a refusal what somebody else has changed meanwhile. */
async function whatDiffers(problem, before) {
  if (problem.status !== 412) throw problem;
  const now = await api.get("/v1/thresholds");
  problem.problems = compared(before.thresholds, now.thresholds).map((one) => `${one.label}${one.segment && ` (${one.segment})`}: ${score(one.before)} → ${score(one.after)}`);
  problem.hint = "The page shows the new state. Close this, look again, and publish if it is still needed.";
  throw problem;
}

/** Moves one threshold, live; for a time by a change request of one's own that needs nobody else. Resolves when done. */
export const publishMove = async ({ name, id, when, before, after, preview, base, effect }) => ask({
  title: `${name}${place(when) && ` (${place(when)})`}: ${score(before)} → ${score(after)}`,
  body: effect,
  fields: [
    REASON, LASTS, ...await ending(),
    ...(preview?.guard_rail?.length ? [{ name: "force", label: "This is a large step. Pass the guard rail.", type: "checkbox" }] : []),
  ],
  act: async ({ reason, lasts, force = false, end_experiments = false }) => {
    if (!lasts) {
      const done = await api.patch("/v1/thresholds", { labels: { [id]: after }, when, reason, force, end_experiments }, restsOn(base))
        .catch((problem) => whatDiffers(problem, base.body));
      return tell(done);
    }
    const opened = await api.post("/v1/change-requests", { labels: { [id]: after }, when, reason, lasts_s: Number(lasts), end_experiments }, restsOn(base))
      .catch((problem) => whatDiffers(problem, base.body));
    if (opened.needs.length) {
      notice(`Change ${opened.number} is open. It waits for a second person: ${opened.needs.join("; ")}.`);
      location.hash = `#/changes/${opened.number}`;
      return;
    }
    // What cannot go live now must not lie about: the dialog stays, and may be sent again.
    const { request } = await api.post(`/v1/change-requests/${opened.number}/publish`).catch(async (problem) => {
      // whatever comes of this, it is the first refusal that somebody has to hear of
      await api.post(`/v1/change-requests/${opened.number}/withdraw`, { comment: `could not go live: ${problem.message}` }).catch(() => {});
      throw problem;
    });
    notice(`Change ${request.number} is live, and goes back at ${moment(request.expires_at)}.`);
  },
});

/** Asks somebody else: nothing is live until it is approved and published. */
export const askForMove = async ({ name, id, when, before, after, preview, base, effect }) => ask({
  title: `Ask for ${name}${place(when) && ` (${place(when)})`}: ${score(before)} → ${score(after)}`,
  body: html`<p>${preview?.needs?.length ? `It needs a second person: ${preview.needs.join("; ")}.` : "Somebody else looks at it before it goes live."}</p>${effect ?? nothing}`,
  fields: [
    REASON,
    { name: "ticket", label: "Ticket or link", required: false },
    LASTS, ...await ending(),
  ],
  action: "Ask",
  act: async ({ reason, ticket, lasts, end_experiments = false }) => {
    const opened = await api.post("/v1/change-requests", { labels: { [id]: after }, when, reason, ticket, lasts_s: lasts ? Number(lasts) : null, end_experiments }, restsOn(base))
      .catch((problem) => whatDiffers(problem, base.body));
    notice(`Change ${opened.number} is open.`);
    location.hash = `#/changes/${opened.number}`;
  },
});

/** Back to an earlier revision, after a look at what differs from now. */
export async function restoreRevision(revision) {
  const base = await api.read("/v1/thresholds");
  return ask({
    title: `Restore revision ${revision.revision}`,
    body: html`<p>By ${revision.author} on ${moment(revision.at)}: ${revision.reason}. The whole set goes back:</p>${differences(compared(base.body.thresholds, revision.thresholds))}`,
    fields: [REASON, ...await ending()],
    action: "Restore",
    act: async ({ reason, end_experiments = false }) => {
      const done = await api.post("/v1/thresholds/restore", { revision: revision.revision, reason, end_experiments }, restsOn(base))
        .catch((problem) => whatDiffers(problem, base.body));
      tell(done);
    },
  });
}
