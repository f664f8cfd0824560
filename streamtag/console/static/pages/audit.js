// The record of everything that anybody changed, and whether it still stands as it was written.

import { turns } from "../api.js";
import { words } from "../audit-words.js";
import { ago, badge, count, facts, failure, html, moment, nothing, plural, table } from "../ui.js";

export const title = "Audit";

const ABOUT = new Set(["id", "number", "at", "action", "author", "reason", "note", "previous", "sha256"]);
const AT_ONCE = 100;

export async function mount({ api, draw, every, onChange, query, signal }) {
  let items = [], next = null, wanted = AT_ONCE, author = query.get("author") ?? "", action = "", checked = null, checking = false, error = null;

  const loading = turns();
  const load = async () => {
    const newest = loading();
    const found = await api.get(`/v1/audit?limit=${Math.min(500, wanted)}`, { signal });
    if (!newest()) return;
    [items, next] = [found.items, found.next];
    show();
  };
  const more = () => { wanted += 200; return load(); };
  const verify = async () => {
    [checking, error] = [true, null];
    show();
    try { checked = { ...(await api.get("/v1/audit/verify", { signal })), at: new Date() }; } catch (problem) { error = problem; }
    checking = false;
    show();
  };

  const show = () => {
    const found = items.filter((one) => (!author || one.author === author) && (!action || one.action === action));
    const choose = (name, values, value, set) => html`<label><span>${name}</span><select @change=${(event) => { set(event.target.value); show(); }}>
      <option value="">all</option>${values.map(([id, words]) => html`<option value=${id} ?selected=${id === value}>${words}</option>`)}</select></label>`;
    draw(html`
      <div class="row"><div class="grow"><h1>Audit</h1>
        <p class="quiet">Who changed what, when and why, newest first. Entries cannot be changed; each holds the hash of the one before.</p></div>
        ${choose("Who", sorted(items.map((one) => one.author)), author, (value) => { author = value; })}
        ${choose("What", sorted(items.map((one) => one.action), words), action, (value) => { action = value; })}
        <button @click=${verify} ?disabled=${checking}>${checking ? "Reading all of it …" : "Prove it"}</button></div>
      ${error ? failure(error) : nothing}
      ${checked ? html`<section class="sheet" aria-live="polite">${proof(checked)}</section>` : nothing}
      <section class="sheet">${table("Entries, newest first", [
        { name: "no.", right: true, of: (e) => e.number ?? "–" },
        { name: "when", of: (e) => ago(e.at) },
        { name: "who", of: (e) => e.author ?? e.by ?? "–" },
        { name: "what", of: (e) => html`${words(e.action)}${e.note && e.note !== words(e.action) ? html`<div class="quiet">${e.note}</div>` : nothing}` },
        { name: "why", of: (e) => e.reason },
        { name: "fields", of: (e) => html`<details><summary class="quiet">all</summary>${facts(rest(e))}</details>` },
      ], found, { none: items.length ? "None of these entries is one of them." : "Nobody has changed anything yet." })}
      ${next || items.length === wanted ? html`<div class="buttons"><button @click=${more} ?disabled=${wanted >= 500}>${wanted >= 500 ? "`streamtag audit show` has the older ones" : "Older ones"}</button></div>` : nothing}</section>`);
  };

  onChange(() => load().catch(() => {}));
  await every(15_000, load);
}

const sorted = (values, name = (value) => value) => [...new Set(values.filter(Boolean))].map((one) => [one, name(one)]).sort((a, b) => a[1].localeCompare(b[1]));
const rest = (entry) => [["time", moment(entry.at)], ...Object.entries(entry).filter(([name, value]) => !ABOUT.has(name) && value !== "").map(([name, value]) => [name.replaceAll("_", " "), value]), ["hash", html`<code>${entry.sha256 ?? "from before the chain"}</code>`]];

function proof({ ok, entries, head, trimmed, before, fault, noted, warnings, at }) {
  return html`
    <p>${ok ? badge("good", "everything stands as it was written") : badge("bad", "not as it was written")}
      ${ok ? `${plural(entries, "entry").replace("entrys", "entries")} proven up to number ${count(head.number)}.` : `${fault.problem}${fault.entry ? ` (entry ${fault.entry})` : ""}`} <span class="quiet">${ago(at)}</span></p>
    ${trimmed ? html`<p class="quiet">${count(trimmed)} older entries are no longer there: somebody has trimmed the stream from its old end. That is no fault.</p>` : nothing}
    ${before ? html`<p class="quiet">${count(before)} entries are from before the chain; nothing proves them.</p>` : nothing}
    ${ok ? html`<p class="quiet">Newest: <code>${head.sha256}</code>. ${warnings.length ? html`It could not be noted here: ${warnings.join("; ")}` : "The API has noted it on its host, so the next proof tells whether Redis has lost it."}
      ${noted ? ` Compared with number ${count(noted.number)}, noted before.` : ""}</p>`
      : html`<p>Stop changing things, keep a copy of Redis, and find out who has write access to it.</p>`}`;
}
