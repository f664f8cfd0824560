// Who decides by what: every worker, as it says itself, and whether the release is live on all of them.

import { turns } from "../api.js";
import { ago, ask, badge, count, facts, html, moment, nothing, notice, table, tile, took } from "../ui.js";

export const title = "Fleet";

const WORDS = { yes: "yes", no: "not yet", unknown: "not known" };

export async function mount({ api, draw, every, may, onChange, signal }) {
  let fleet = null;

  const loading = turns();
  const load = async () => {
    const newest = loading();
    const found = await api.get("/v1/fleet", { signal });
    if (!newest()) return;
    fleet = found;
    show();
  };

  const resume = () => ask({
    title: "Let the group go on",
    body: html`<p>Its workers stopped, as too many events became <a href="#/dead-letters">dead letters</a>. They go on where they
      stopped; nothing was skipped. Do it once the cause is gone, or they stop again.</p>`,
    fields: [{ name: "reason", label: "Why it may go on" }],
    action: "Go on",
    act: async ({ reason }) => {
      await api.post("/v1/fleet/resume", { reason });
      notice("The group goes on.");
    },
  }).then((made) => { if (made !== null) return load(); });

  const show = () => {
    const { workers } = fleet;
    const lag = waiting(workers);
    const ready = workers.filter((one) => one.ready).length;
    draw(html`
      <h1>Fleet</h1>
      <p class="quiet">Consumer group <code>${fleet.group}</code></p>
      ${fleet.stop ? stopped(fleet.stop, may("operator") ? resume : null) : nothing}
      <div class="tiles">
        ${tile("live everywhere", WORDS[fleet.live] ?? "no release yet", fleet.live_since ? html`since ${moment(fleet.live_since)}` : fleet.release ? `release ${fleet.release}` : nothing)}
        ${tile("workers", count(workers.length), !workers.length ? "nobody tags" : workers.length === ready ? "all ready" : `${ready} ready`)}
        ${tile("events waiting", count(lag), lag === null ? "nobody says" : lag === 0 ? "nothing waits" : "written, and not yet decided")}
        ${tile("decides", fleet.release ? `release ${fleet.release}` : "–", fleet.bundle ? html`<a href="#/models/${fleet.bundle.replace("@", "/")}">${fleet.bundle}</a>` : nothing)}
      </div>
      ${fleet.live_reasons?.length ? html`<section class="sheet"><h2>${fleet.live === "no" ? "Why not everywhere" : "Why that is not known"}</h2>
        <ul>${fleet.live_reasons.map((one) => html`<li>${one}</li>`)}</ul>
        <p class="quiet">${fleet.live === "no" ? "A worker takes a release up within a second; one that does not is shown below." : "A worker that says nothing for a few seconds may be busy, cut off, or gone."}</p></section>` : nothing}
      <section class="sheet"><h2>Workers</h2>${table("Workers", [
        { name: "worker", of: (w) => html`<strong title=${w.worker}>${nameOf(w, fleet)}</strong> <small>process ${w.pid}</small>` },
        { name: "state", of: state },
        { name: "release", right: true, of: (w) => html`${w.release ?? "–"} ${w.release === fleet.release ? nothing : badge("warn", "another")}` },
        { name: "since", of: (w) => ago(w.applied_at_ms) },
        { name: "waiting", right: true, of: (w) => count(w.lag) },
        { name: "latency (median)", right: true, of: latency },
        { name: "last heard", of: (w) => ago(w.beat_at) },
        { name: "runs", of: (w) => ago(w.started_at) },
        { name: "decides from", of: positions },
      ], workers, { none: "Nobody tags. `streamtag tagger` starts a worker." })}</section>`);
  };

  onChange(() => load().catch(() => {}));
  await every(2_000, load);
}

/** Workers are named for their group; where that is known, the rest says which. */
export const nameOf = (worker, { group }) => worker.worker.replace(`${group}-`, "");

/** Events that wait for any of them; null where none says. */
export const waiting = (workers) => (workers.some((one) => one.lag !== null) ? workers.reduce((sum, one) => sum + (one.lag ?? 0), 0) : null);

/** From the timestamp of an event to the commit of its tags. */
const latency = ({ latency_p50_ms: half, latency_p99_ms: most }) =>
  most === null ? html`<span class="quiet">nothing lately</span>` : html`${took(half)} <small>p99 ${took(most)}</small>`;

const stopped = (stop, resume) => html`<div class="failure" role="alert">
  <strong>Stopped ${ago(stop.at)}.</strong> ${stop.reason}
  ${facts([["seen by", stop.worker], ...Object.entries(stop.counts ?? {}).map(([name, n]) => [name.replaceAll("_", " "), count(n)])])}
  <p>Look at the <a href="#/dead-letters">dead letters</a>, mend their cause, then let the group go on. Nothing is lost meanwhile: events wait in Kafka.</p>
  ${resume ? html`<button @click=${resume}>Let it go on …</button>` : nothing}
</div>`;

function state(worker) {
  const words = worker.ready ? badge("good", "ready") : badge("bad", "not ready");
  return html`${words}${worker.reasons.map((one) => html`<div>${one}</div>`)}
    ${worker.last_error ? html`<div class="quiet">last error: ${worker.last_error}</div>` : nothing}`;
}

/** First position of each partition that this worker's release decided. */
function positions(worker) {
  const known = Object.entries(worker.effective_from).sort();
  if (known.length === 0) return html`<span class="quiet">no partition</span>`;
  return html`<details><summary>${known.length} partition${known.length > 1 ? "s" : ""}</summary>
    ${known.map(([name, from]) => html`<div><code>${name}</code> from ${count(from)}</div>`)}</details>`;
}
