// Challengers beside the champion: what runs, what it has come to, and one of them in full.

import { turns } from "../api.js";
import { shareField, shareOf, startOne } from "../experiment-forms.js";
import * as history from "../experiment-history.js";
import * as words from "../experiment-words.js";
import { differences } from "../threshold-forms.js";
import { ago, ask, chosen, count, facts, html, moment, nothing, notice, table } from "../ui.js";

export const title = "Experiments";

const REASON = { name: "reason", label: "Why", hint: "Kept with the change for ever." };

export const mount = (context) => (context.rest[0] ? one(context, Number(context.rest[0])) : all(context));

async function all({ api, draw, every, onChange, may, who, signal }) {
  let items = [], next = null, limit = 50;
  const loading = turns();
  const load = async () => {
    const newest = loading();
    const found = await api.get(`/v1/experiments?limit=${limit}`, { signal });
    if (!newest()) return;
    ({ items, next } = found);
    show();
  };
  const more = () => { limit = 500; return load(); };

  const begin = async () => {
    const { items: bundles } = await api.get("/v1/models", { signal });
    const made = await startOne(bundles);
    if (made !== null) await load();
  };

  const show = () => draw(html`
    <div class="row"><div class="grow"><h1>Experiments</h1>
      <p class="quiet">A challenger beside the champion, until the evidence says which.</p></div>
      ${may("operator") && !who.labels ? html`<button class="main" @click=${begin}>Start one …</button>` : nothing}</div>
    <section class="sheet">${table("Experiments, the one that changed last first", [
      { name: "no.", right: true, of: (e) => html`<a href="#/experiments/${e.experiment}">${e.experiment}</a>` },
      { name: "came to", of: words.state },
      { name: "candidate", of: (e) => words.release(e.candidate) },
      { name: "against", of: (e) => words.release(e.control) },
      { name: "how", of: (e) => `${e.plan.mode}, ${chosen(e.phases.at(-1).share)}` },
      { name: "began", of: (e) => ago(e.at) },
      { name: "who", of: (e) => e.author },
      { name: "why", of: (e) => e.reason },
    ], items, { none: "None has run yet. Start one, or use `streamtag experiment start`." })}
    ${next && limit < 500 ? html`<div class="buttons"><button @click=${more}>Older ones</button></div>` : nothing}</section>`);

  onChange(() => load().catch(() => {}));
  await every(10_000, load);
}

async function one({ api, draw, every, onChange, may, who, signal }, number) {
  let experiment = null, label = null, looks = null, asked = "", drawn = null;
  const loading = turns();
  const load = async () => {
    const newest = loading();
    const found = await api.get(`/v1/experiments/${number}`, { signal });
    if (!newest()) return;
    experiment = found;
    label ??= history.foremost(experiment);
    show();
    await look();
  };
  // There is a new look where the evidence has gone on.
  const look = async () => {
    const wanted = `${experiment.evidence?.panes_to} ${label}`;
    if (wanted === asked) return;
    const found = await api.get(`/v1/experiments/${number}/history?label=${encodeURIComponent(label)}`, { signal });
    if (!found.labels[label]) return; // another label was chosen meanwhile
    [looks, asked] = [found, wanted];
    show();
  };
  const choose = (wanted) => { [label, looks, asked] = [wanted, null, ""]; show(); look(); };
  const then = (made) => { if (made !== null) load(); };

  const stop = () => ask({
    title: `Stop experiment ${number}`, danger: true,
    body: html`<p>It is never taken up again; what it has counted stays. The champion decides everything.</p>`,
    fields: [REASON], action: "Stop it",
    act: async ({ reason }) => { await api.post(`/v1/experiments/${number}/stop`, { reason }); notice(`Experiment ${number} is stopped.`); },
  }).then(then);
  const share = () => ask({
    title: `Another share for experiment ${number}`,
    fields: [shareField(experiment.phases.at(-1).share), REASON], action: "Change it",
    act: async ({ share: wanted, reason }) => { await api.post(`/v1/experiments/${number}/share`, { share: shareOf(wanted), reason }); notice("A new phase has begun; evidence goes on."); },
  }).then(then);
  const promote = () => ask({
    title: `Promote the candidate of experiment ${number}`,
    body: html`<p>${words.release(experiment.candidate)} decides everything, on every worker. Running experiments that compare with the champion end.</p>`,
    fields: [REASON, ...(experiment.state === "PASS" ? [] : [{ name: "force", label: "There is no PASS, and it is meant.", type: "checkbox" }])],
    action: "Promote",
    act: async ({ reason, force = false }) => {
      const done = await api.post(`/v1/experiments/${number}/promote`, { reason, force, end_experiments: true });
      notice(`Release ${done.release} decides.`);
    },
  }).then(then);
  const askFor = () => ask({
    title: `Ask for the candidate of experiment ${number}`,
    body: html`<p>Somebody else approves it, and then it is published. A change of critical labels needs that.</p>`,
    fields: [REASON, { name: "ticket", label: "Ticket or link", required: false }], action: "Ask",
    act: async ({ reason, ticket }) => {
      const opened = await api.post("/v1/change-requests", { candidate_of: number, reason, ticket, end_experiments: true });
      location.hash = `#/changes/${opened.number}`;
    },
  });

  const buttons = () => {
    if (!may("operator") || who.labels) return nothing;
    const runs = experiment.state === "running" || experiment.state === "stale";
    return html`<div class="buttons start">
      ${runs ? html`<button @click=${stop}>Stop …</button>` : nothing}
      ${experiment.state === "running" ? html`<button @click=${share}>Share …</button>` : nothing}
      ${["PASS", "running"].includes(experiment.state) ? html`<button @click=${askFor}>Ask for it …</button>` : nothing}
      ${["PASS", "running", "INCONCLUSIVE"].includes(experiment.state) ? html`<button class=${experiment.state === "PASS" ? "main" : ""} @click=${promote}>Promote …</button>` : nothing}</div>`;
  };

  const show = () => {
    const { plan, rollout, phases, changes } = experiment;
    const counted = countsOf(phases, experiment.evidence?.phases ?? []);
    draw(html`
      <p><a href="#/experiments">All experiments</a></p>
      <div class="row"><div class="grow"><h1>Experiment ${number}</h1>
        <p class="quiet">${experiment.author}, ${ago(experiment.at)}: ${experiment.reason}</p></div>${buttons()}</div>
      ${words.verdict(experiment)}
      <section class="sheet"><h2>Arms side by side</h2>${words.labels(experiment)}
        <p class="quiet">Looking often does not make it wrong: evidence must reach a bound that holds at every moment.</p></section>
      ${history.section(experiment, looks, label, choose)}
      <section class="sheet"><h2>What differs between the arms</h2>
        ${facts([["control", words.release(experiment.control)], ["candidate", words.release(experiment.candidate)]])}
        ${changes?.length ? differences(changes) : html`<p class="quiet">${changes ? "Both have the same thresholds." : "Their thresholds are no longer there to compare."}</p>`}</section>
      <section class="sheet"><h2>How it is judged</h2>${facts([
        ["mode", plan.mode === "shadow" ? "shadow: both score the same units" : "split: each unit has one arm"],
        ["counted once per", experiment.unit],
        ["chance of a wrong fail", chosen(plan.alpha)],
        ["gives up after", `${plan.max_units.toLocaleString("en")} units or ${plan.max_hours} hours`],
        ["a worse label", plan.on_worse === "fail" ? "fails it" : "warns, unless it is critical"],
        ["when it passes", rollout.promote ? "the candidate is promoted by itself" : "a person decides"],
        rollout.ramp.length && ["ramp", rollout.ramp.map((step) => chosen(step.share)).join(" → ")],
      ])}</section>
      <section class="sheet"><h2>Phases</h2>${table("Phases", [
        { name: "phase", right: true, of: (p) => phases.indexOf(p) },
        { name: "share", right: true, of: (p) => chosen(p.share) },
        { name: "", of: (p) => html`<span class="meter" role="img" aria-label="share ${chosen(p.share)}"><span class="fill tagged" .style=${`width:${100 * p.share}%`}></span></span>` },
        { name: "began", of: (p) => moment(p.began_at) },
        { name: "units, control", right: true, of: (p) => count(counted.get(p)?.control_units) },
        { name: "units, candidate", right: true, of: (p) => count(counted.get(p)?.candidate_units) },
      ], phases)}</section>`);
    const place = document.getElementById("evidence");
    if (place && looks !== drawn) {
      drawn = looks;
      history.draw(place, experiment, looks, label);
    }
  };

  onChange(() => load().catch(() => {}));
  await every(5_000, load);
}

/**
 * Phase to its counts. These come in the order of phases and name their share alone, as a phase without events has none:
 * where an earlier and a later phase had the same share, and either may be meant, nobody says which.
 */
function countsOf(phases, counts) {
  const walk = (all, found) => { let at = -1; return found.map(({ share }) => all[at = all.findIndex((one, i) => i > at && one.share === share)]); };
  const [earliest, latest] = [walk(phases, counts), walk([...phases].reverse(), [...counts].reverse()).reverse()];
  return new Map(counts.map((one, i) => [earliest[i], one]).filter(([phase], i) => phase === latest[i]));
}
