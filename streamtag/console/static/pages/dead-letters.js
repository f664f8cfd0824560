// Events that could not be decided: grouped by why, looked at with care, and put back once the cause is gone.

import { turns } from "../api.js";
import { ago, ask, badge, count, facts, failure, html, nothing, notice, table, tile } from "../ui.js";

export const title = "Dead letters";

const SPANS = [["1h", "1 hour"], ["1d", "1 day"], ["7d", "7 days"], ["", "all"]];
const SHOWN = 25;
const plain = (name) => name.replaceAll("_", " ");

export async function mount({ api, draw, every, may, query, signal }) {
  let since = SPANS.some(([value]) => value === query.get("since")) ? query.get("since") : "1d";
  let groups = null, chosen = null, letters = null, opened = new Map();
  const loading = turns();

  const load = async () => {
    const newest = loading();
    const found = await api.get(`/v1/dead-letters/groups${since ? `?since=${since}` : ""}`, { signal });
    if (!newest()) return;
    const held = chosen && await api.get(`/v1/dead-letters?${filters(chosen)}&limit=${SHOWN}`, { signal });
    if (!newest()) return;
    [groups, letters] = [found, held];
    show();
  };

  const filters = (group) => {
    const found = new URLSearchParams();
    const { class: error_class, stage, field, topic } = group.values;
    for (const [name, value] of Object.entries({ error_class, stage, field, topic })) found.set(name, value);
    if (since) found.set("since", since);
    return found;
  };

  const span = (event) => { [since, chosen, letters] = [event.target.value, null, null]; load(); };
  const choose = async (group) => {
    [chosen, letters, opened] = [group, null, new Map()];
    show();
    await load();
    document.getElementById("letters")?.scrollIntoView({ block: "nearest" });
  };

  // -- what a letter holds: masked and blurred, until somebody asks for more -------------------------------------

  const fetchContent = async (letter, masked) => {
    const state = opened.get(letter.position) ?? { clear: false };
    try {
      state.content = await api.get(`/v1/dead-letters/${letter.position}/content?masked=${masked}`, { signal });
      [state.masked, state.error] = [masked, null];
    } catch (error) { state.error = error; }
    opened.set(letter.position, state);
    show();
  };
  const unblur = (letter) => { const state = opened.get(letter.position); state.clear = !state.clear; show(); };

  const content = (letter) => {
    const state = opened.get(letter.position);
    if (!state) return may("reviewer") ? html`<button @click=${() => fetchContent(letter, true)}>Show content</button>` : html`<span class="quiet">for reviewers</span>`;
    if (state.error) return failure(state.error);
    const { key, value, headers } = state.content;
    return html`<div class="buttons start">
        <button @click=${() => unblur(letter)} aria-pressed=${state.clear}>${state.clear ? "Blur" : "Unblur"}</button>
        ${state.masked ? html`<button @click=${() => fetchContent(letter, false)}>Without masks</button>` : badge("warn", "personal data is not masked")}
      </div>
      <div class="${state.clear ? "" : "blurred"}" aria-hidden=${!state.clear}>
        ${facts([["key", key ?? "none"], ...headers.map((one) => [`header ${one.name}`, one.value ?? "no text"])])}
        <pre class="content">${value ?? "no text, or none at all"}</pre>
      </div>
      ${state.content.truncated ? html`<p class="quiet">Not whole: it was too large to be kept. The original is at its source position.</p>` : nothing}`;
  };

  // -- putting them back -----------------------------------------------------------------------------------------

  const replay = async (group) => {
    // Of any time: replays from different moments would be different ones, and what both take is put back twice.
    const { class: error_class, stage, field, topic } = group.values;
    const [within, time] = SPANS.find(([value]) => value === since);
    const body = {
      selection: { error_class: [error_class], stage: [stage], field: [field], topic: [topic] },
      limit: 10_000,
    };
    let seen;
    try {
      seen = await api.post("/v1/dead-letters/replays", { ...body, dry_run: true, reason: "looking first" }, { signal });
    } catch (error) { return notice(error.message, "bad"); }
    const left = Object.entries(seen.left);
    const all = left.reduce((sum, [, one]) => sum + one.count, seen.replayed);
    const made = await ask({
      title: `Put ${count(seen.replayed)} back`,
      body: html`<p>They are written to ${topic} again as they were, key, headers and bytes, and decided anew. Whoever is still
        broken becomes a dead letter once more.</p>
        ${within && all !== group.count ? html`<p>All of this kind are meant, however old. In the time shown (${time}) there are ${count(group.count)}.</p>` : nothing}
        ${left.length ? html`<p>Left where they are: ${left.map(([why, one]) => `${count(one.count)} ${plain(why)}`).join(", ")}.</p>` : nothing}
        ${seen.resumed ? html`<p class="quiet">A replay of these was begun before; this goes on behind it.</p>` : nothing}`,
      fields: [{ name: "reason", label: "Why they will do better now" }],
      action: "Put back",
      act: async ({ reason }) => {
        const done = await api.post("/v1/dead-letters/replays", { ...body, reason });
        notice(`${count(done.replayed)} put back${done.limited ? "; more are left" : ""}.`);
      },
    });
    if (made !== null) await load();
  };

  // -- the page ----------------------------------------------------------------------------------------------------

  const show = () => draw(html`
    <div class="row"><div class="grow"><h1>Dead letters</h1>
      <p class="quiet">Events that could not be decided. The others went on without them; these wait here.</p></div>
      <label><span>Time</span><select @change=${span}>${SPANS.map(([value, words]) => html`<option value=${value} ?selected=${value === since}>${words}</option>`)}</select></label></div>
    <div class="tiles">
      ${tile("dead letters", count(groups.matching), groups.matching ? html`of ${count(groups.items.length)} kinds` : "nothing to do")}
      ${tile("the latest", groups.items.length ? ago(Math.max(...groups.items.map((one) => one.last_ms))) : "–")}
      ${groups.foreign ? tile("not ours", count(groups.foreign), "records that streamtag did not write") : nothing}
    </div>
    <section class="sheet"><h2>Kinds</h2>${table("Kinds of dead letters", [
      { name: "why", of: (g) => html`<strong>${plain(g.values.class)}</strong>` },
      { name: "where", of: (g) => html`${g.values.stage}${g.values.field ? html` <code>${g.values.field}</code>` : nothing}` },
      { name: "from", of: (g) => html`<code>${g.values.topic}</code>` },
      { name: "how many", right: true, of: (g) => count(g.count) },
      { name: "first", of: (g) => ago(g.first_ms) },
      { name: "latest", of: (g) => ago(g.last_ms) },
      { name: "", of: (g) => html`<div class="buttons start">
        <button @click=${() => choose(g)} aria-label="Look at ${plain(g.values.class)}">Look</button>
        ${may("operator") ? html`<button @click=${() => replay(g)} ?disabled=${g.truncated === g.count} aria-label="Put back ${plain(g.values.class)}">Put back …</button>` : nothing}</div>` },
    ], groups.items, { none: "None in this time. Every event was decided." })}</section>
    ${chosen ? html`<section class="sheet" id="letters">
      <h2>${plain(chosen.values.class)}${letters && letters.matching > SHOWN ? `: the latest ${SHOWN} of ${count(letters.matching)}` : ""}</h2>
      ${letters ? letters.items.map(one) : html`<p class="quiet">Loading …</p>`}</section>` : nothing}`);

  const one = (letter) => html`<article class="letter">
    <p><strong>${letter.message}</strong></p>
    ${facts([
      ["died", ago(letter.at_ms)],
      ["original", html`<code>${letter.source.topic}/${letter.source.partition}/${letter.source.offset}</code>`],
      ["bytes", html`${count(letter.size)} ${letter.truncated ? badge("warn", "not whole") : nothing}`],
      ["release", letter.release],
      ["put back before", letter.replay_count ? `${letter.replay_count} times` : "never"],
    ])}
    ${content(letter)}</article>`;

  await every(15_000, load);
}
