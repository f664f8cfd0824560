// Labels that were tagged beyond their bound: their tags ask for review only, until somebody trusts them again.

import { api } from "./api.js";
import { ago, ask, badge, html, nothing, notice } from "./ui.js";

/** breaker: as the API tells an open one; trust: called where somebody may, and does. */
export const reviewOnly = (breaker, may, trust) => html`<section class="sheet row">
  <p class="grow">${badge("warn", "review only")} Since ${ago(breaker.at)} tags of this label ask for review instead of acting: ${breaker.reason} <span class="quiet">(${breaker.by})</span></p>
  ${may ? html`<button @click=${trust}>Trust it again …</button>` : nothing}</section>`;

export const trustAgain = (name, id) => ask({
  title: `Trust ${name} again`,
  body: html`<p>Its tags act again, on every worker. If it is still tagged beyond its bound, the rule turns it to review only anew.</p>`,
  fields: [{ name: "reason", label: "Why", hint: "Kept with the change for ever." }],
  action: "Trust it",
  act: async ({ reason }) => {
    const done = await api.post(`/v1/breakers/${encodeURIComponent(id)}/close`, { reason });
    notice(done.closed ? `${name} is trusted again.` : `${name} was trusted already.`);
  },
});
