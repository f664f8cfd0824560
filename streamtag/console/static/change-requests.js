// A change that somebody asks for: what, why, what it waits for, and what whoever looks at it may do.

import { api } from "./api.js";
import { differences, ending } from "./threshold-forms.js";
import { ago, ask, badge, facts, html, moment, nothing, notice } from "./ui.js";

const STATES = { draft: ["warn", "waits to be published"], approved: ["good", "approved"], live: ["good", "live"], expired: ["quiet", "went back by itself"], restored: ["quiet", "taken back"], rejected: ["bad", "rejected"], withdrawn: ["quiet", "withdrawn"] };
const SAID = { approve: "approved", reject: "rejected", withdraw: "withdrew", comment: "said", publish: "published", restore: "took back", expire: "went back by itself" };

/** Where it stands. */
export const state = (request) => {
  const [kind, words] = STATES[request.state] ?? ["quiet", request.state];
  return badge(kind, request.state === "draft" && request.needs.length ? "waits for a second person" : words);
};

/** `2 h`, `15 min`: of seconds. */
export const lasting = (s) => (s < 5400 ? `${Math.max(1, Math.round(s / 60))} min` : s < 172_800 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86_400)} days`);

/** How long until then; empty once it is past. */
const until = (at) => { const s = (Date.parse(at) - Date.now()) / 1000; return s > 0 ? `in ${lasting(s)}` : "now due"; };

/** When something happens to it by itself. */
export const due = (request) => [
  request.state === "live" && request.expires_at ? html`goes back ${until(request.expires_at)} <span class="quiet">(${moment(request.expires_at)})</span>` : nothing,
  ["draft", "approved"].includes(request.state) && request.not_before ? html`goes live by itself ${until(request.not_before)} <span class="quiet">(${moment(request.not_before)})</span>` : nothing,
  ["draft", "approved"].includes(request.state) && request.lasts_s ? html`<span class="quiet">for ${lasting(request.lasts_s)}, then back</span>` : nothing,
];

const arrow = (line) => line.replaceAll(" -> ", " → ");

/** One of a list. */
export const summary = (request, buttons = nothing) => html`<li class="entry">
  <div class="row"><div class="grow">
    <strong><a href="#/changes/${request.number}">Change ${request.number}</a></strong> ${state(request)} ${due(request)}
    <div>${request.what.map((line) => html`<div>${arrow(line)}</div>`)}</div>
    <div class="quiet">${request.author}, ${ago(request.at)}: ${request.reason}${request.ticket ? html` · ${ticket(request.ticket)}` : nothing}</div>
  </div>${buttons}</div></li>`;

/** A link only where it is one that a browser may follow. */
const ticket = (text) => (/^https?:\/\//.test(text) ? html`<a href=${text} rel="noreferrer noopener" target="_blank">${text}</a>` : text);

/** All of one; `buttons`: what may be done. */
export const whole = (request, buttons, effect = nothing) => html`
  <section class="sheet">
    <div class="row"><p class="grow">${state(request)} ${due(request)}</p>${buttons}</div>
    ${request.changes.length ? differences(request.changes) : html`<ul class="findings">${request.what.map((line) => html`<li>${arrow(line)}</li>`)}</ul>`}
    ${effect}
    ${facts([
      ["asked for by", html`${request.author}, ${ago(request.at)}`],
      ["why", request.reason],
      request.ticket && ["ticket", ticket(request.ticket)],
      request.needs.length && ["needs a second person", request.needs.join("; ")],
      request.approved_by && ["approved by", request.approved_by],
      ["who owns the labels", owners(request.owners)],
      request.made && ["made", `release ${request.made.number}`],
    ])}
  </section>
  ${request.obstacles.length && ["draft", "approved"].includes(request.state) ? html`<section class="sheet"><h2>What keeps it from going live</h2>
    <ul class="findings">${request.obstacles.map((one) => html`<li>${one}</li>`)}</ul></section>` : nothing}
  ${request.kept.length ? html`<section class="sheet"><h2>What did not go back</h2><p class="quiet">Somebody has moved it since, and it stays as they left it.</p>
    <ul class="findings">${request.kept.map((one) => html`<li>${one}</li>`)}</ul></section>` : nothing}
  ${request.overlaps.length ? html`<section class="sheet"><h2>Else asked of the same labels</h2>
    <ul class="findings">${request.overlaps.map((one) => html`<li><a href="#/changes/${one.number}">Change ${one.number}</a> (${one.state}) by ${one.author}: ${one.what.map(arrow).join("; ")}</li>`)}</ul></section>` : nothing}
  <section class="sheet"><h2>What was said and done</h2>
    <ol class="findings">
      <li>${request.author} asked for it, ${ago(request.at)}</li>
      ${request.steps.map((step) => html`<li>${step.by} ${SAID[step.action] ?? step.action}, ${ago(step.at)}${step.comment ? html`: ${step.comment}` : nothing} ${step.made ? html`<span class="quiet">(${step.made})</span>` : nothing}</li>`)}
    </ol></section>`;

const owners = (found) => {
  const named = Object.entries(found).map(([label, owner]) => `${label}: ${owner ?? "nobody is named"}`);
  return named.length > 4 ? html`<details><summary>${named.length} labels</summary>${named.map((one) => html`<div>${one}</div>`)}</details>` : named.map((one) => html`<div>${one}</div>`);
};

const COMMENT = (required) => [{ name: "comment", label: required ? "Why" : "Comment", required, hint: "Kept with the change for ever." }];
const ACTIONS = {
  publish: { words: "Publish …", main: () => true, role: "operator", title: "Make it live", fields: [], action: "Publish" },
  approve: { words: "Approve …", main: (request) => request.needs.length > 0, role: "operator", title: "Approve it", fields: COMMENT(false), action: "Approve", hint: "It is live only once somebody publishes it, or at its time." },
  reject: { words: "Reject …", role: "operator", title: "Reject it", fields: COMMENT(true), action: "Reject" },
  withdraw: { words: "Withdraw …", role: "operator", title: "Withdraw it", fields: COMMENT(false), action: "Withdraw" },
  restore: { words: "Take back …", role: "operator", title: "Take it back", fields: [{ name: "reason", label: "Why", hint: "Kept with the change for ever." }, "ending"], action: "Take back", hint: "What somebody has moved since stays as they left it." },
  comment: { words: "Comment …", role: "reviewer", title: "Say something", fields: COMMENT(true), action: "Say it" },
};

/** What whoever is signed in may do now, as buttons; done: called after each. */
export const actions = (request, may, done, only = Object.keys(ACTIONS)) => html`<div class="buttons start">${request.allowed
  .filter((name) => only.includes(name) && may(ACTIONS[name].role))
  .sort((a, b) => Object.keys(ACTIONS).indexOf(a) - Object.keys(ACTIONS).indexOf(b))
  .map((name) => html`<button class=${ACTIONS[name].main?.(request) ? "main" : ""} @click=${() => act(request, name, done)}>${ACTIONS[name].words}</button>`)}</div>`;

async function act(request, name, done) {
  const { title, fields, action, hint } = ACTIONS[name];
  const made = await ask({
    title: `${title}: change ${request.number}`,
    body: html`${request.what.map((line) => html`<p>${arrow(line)}</p>`)}${hint ? html`<p class="quiet">${hint}</p>` : nothing}`,
    fields: (await Promise.all(fields.map((one) => (one === "ending" ? ending() : one)))).flat(),
    action,
    act: async (given) => {
      await api.post(`/v1/change-requests/${request.number}/${name}`, name === "publish" ? undefined : given);
      notice(`Change ${request.number}: ${action.toLowerCase()}, done.`);
    },
  });
  if (made !== null) await done();
}
