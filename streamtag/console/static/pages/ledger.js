// Was anything lost or doubled: every event that was read has one outcome, and no position is missing.

import { turns } from "../api.js";
import { ago, badge, count, facts, html, nothing, table, tile } from "../ui.js";

export const title = "Ledger";

const SPANS = [[1, "1 hour"], [24, "1 day"], [168, "7 days"], [0, "all there is"]];

export async function mount({ api, draw, every, query, signal }) {
  let hours = Number(query.get("hours")) || 24;
  let ledger = null, older = false, within = hours;
  const loading = turns();

  const load = async () => {
    const newest = loading(), asked = hours;
    let found = await api.get(`/v1/ledger?hours=${asked}`, { signal });
    // Nothing in this time may be a quiet night; and the demo's broker cannot look up times.
    const nothingNew = asked > 0 && !found.partitions.length;
    if (nothingNew) found = await api.get("/v1/ledger?hours=0", { signal });
    if (!newest()) return;
    [ledger, older, within] = [found, nothingNew, nothingNew ? 0 : asked];
    show();
  };
  const span = (event) => { hours = Number(event.target.value); load(); };

  const show = () => {
    const { partitions, findings, unreadable, unsettled } = ledger;
    const sum = (name) => partitions.reduce((all, one) => all + one[name], 0);
    const wrong = Object.values(ledger.counts).reduce((a, b) => a + b, 0);
    draw(html`
      <div class="row"><div class="grow"><h1>Ledger</h1>
        <p class="quiet">Each event that was read is tagged, clean, dead or skipped: exactly one of them, exactly once.
          ${older ? "Nothing was committed in this time: shown is all there is." : ""}</p></div>
        <label><span>Time</span><select @change=${span}>${SPANS.map(([value, words]) => html`<option value=${value} ?selected=${value === hours}>${words}</option>`)}</select></label></div>
      <div class="tiles">
        ${tile("lost or doubled", !partitions.length ? "–" : ledger.ok ? "nothing" : count(wrong), !partitions.length ? "nothing was counted yet" : ledger.ok ? "every position is there once" : "see below")}
        ${tile("events", count(sum("in")))}
        ${tile("tagged", count(sum("tagged")), share(sum("tagged"), sum("in")))}
        ${tile("clean", count(sum("clean")), share(sum("clean"), sum("in")))}
        ${tile("dead", count(sum("dead")), sum("dead") ? html`<a href="#/dead-letters">look at them</a>` : nothing)}
        ${tile("skipped", count(sum("skipped")), "deletions, which are passed on")}
      </div>
      ${unsettled.length ? html`<p class="sheet">${badge("warn", "not the whole of it")} A transaction is open and hides the end of ${unsettled.join(", ")}. Look again in a moment.</p>` : nothing}
      ${findings.length || unreadable.length ? html`<section class="sheet"><h2>What is wrong</h2>
        <ul class="findings">${findings.map((one) => html`<li>${badge("bad", one.kind)} ${words(one)}</li>`)}
        ${unreadable.map((one) => html`<li>${badge("bad", "unreadable")} A record of ${ledger.stats}, partition ${one.shard}, position ${count(one.offset)}: ${one.reason}. It was not counted.</li>`)}</ul>
        <p class="quiet"><code>streamtag ledger audit --from …</code> recounts such a range from the events themselves.</p></section>` : nothing}
      <section class="sheet"><h2>By partition</h2>${table("Source partitions", [
        { name: "partition", of: (p) => html`<code>${p.topic}/${p.partition}</code>` },
        { name: "positions", right: true, of: (p) => `${count(p.from)} – ${count(p.to)}` },
        { name: "events", right: true, of: (p) => count(p.in) },
        { name: "tagged", right: true, of: (p) => count(p.tagged) },
        { name: "clean", right: true, of: (p) => count(p.clean) },
        { name: "dead", right: true, of: (p) => count(p.dead) },
        { name: "skipped", right: true, of: (p) => count(p.skipped) },
        { name: "balance", of: balance },
        { name: "last commit", of: (p) => ago(p.latest_ms) },
      ], partitions, { none: "Nothing was committed in this time." })}</section>
      ${partitions.length ? html`<section class="sheet"><h2>What this rests on</h2>${facts([
        ["commit summaries read", count(sum("summaries"))], ["from", ledger.stats], within ? ["in the last", `${within} h`] : ["of", "all there is"],
      ])}</section>` : nothing}`);
  };

  await every(15_000, load);
}

const share = (part, whole) => (whole ? `${((100 * part) / whole).toFixed(1)} %` : "");

function balance(one) {
  const rest = one.in - one.tagged - one.clean - one.dead - one.skipped;
  if (rest === 0 && one.missing === 0 && one.doubled === 0) return badge("good", "adds up");
  return html`${rest ? badge("bad", `${count(Math.abs(rest))} ${rest > 0 ? "without an outcome" : "too many outcomes"}`) : nothing}
    ${one.missing ? badge("bad", `${count(one.missing)} missing`) : nothing} ${one.doubled ? badge("bad", `${count(one.doubled)} doubled`) : nothing}`;
}

/** What a finding means, and what to do about it. */
function words({ kind, topic, partition, positions: [start, end], detail }) {
  const many = `${count(end - start)} position${end - start === 1 ? "" : "s"} of ${topic}/${partition}, ${count(start)} to ${count(end - 1)}`;
  if (kind === "gap") return `${many}: committed by the group, and no summary counts them. They may be lost, or only their counts; an audit of the range tells.${detail ? ` (${detail})` : ""}`;
  if (kind === "overlap") return `${many}: counted more than once. The topic was made anew, the group was moved back, or delivery is at least once.`;
  return `The summary of ${many} does not add up: ${detail}.`;
}
