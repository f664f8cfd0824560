// The bundles that can be found, and the card of one of them.

import { markdown } from "../markdown.js";
import { badge, count, facts, failure, html, moment, nothing, table } from "../ui.js";

export const title = "Models";

export async function mount(context) {
  const [name, version] = context.rest;
  await (name && version ? one(context, name, version) : all(context));
}

async function all({ api, draw, every, signal }) {
  await every(60_000, async () => {
    const [found, live] = await Promise.all([
      api.get("/v1/models", { signal }),
      api.get("/v1/releases/current", { signal }).catch(() => null),
    ]);
    draw(html`
      <h1>Models</h1>
      ${found.problems.length ? failure({ title: "Some places do not answer.", problems: found.problems, hint: "model.directories names them." }) : nothing}
      <section class="sheet">${table("Bundles", [
        { name: "model", of: (m) => html`<a href="#/models/${encodeURIComponent(m.name)}/${encodeURIComponent(m.version)}">${m.name}@${m.version}</a>
          ${live?.bundle === `${m.name}@${m.version}` ? badge("good", "decides") : nothing}` },
        { name: "labels", right: true, of: (m) => html`<span title=${m.labels.join(", ")}>${m.labels.length || "–"}</span>` },
        { name: "known as", of: (m) => m.aliases.join(", ") },
        { name: "lies in", of: (m) => (m.place.includes("://") ? m.place : html`<span title=${m.place}>this machine</span>`) },
        { name: "identity", of: (m) => html`<code title=${m.sha256}>${m.sha256.slice(0, 12)}</code>` },
        { name: "", of: (m) => (m.problems.length ? html`${badge("bad", "refused")} ${m.problems.join("; ")}` : nothing) },
      ], found.items, { none: "No bundle is found. model.directories says where to look." })}</section>`);
  });
}

async function one({ api, draw, signal }, name, version) {
  const found = await api.get(`/v1/models/${encodeURIComponent(name)}/${encodeURIComponent(version)}`, { signal });
  const { files, training, evaluation, ...rest } = found.manifest;
  const place = `/v1/models/${encodeURIComponent(name)}/${encodeURIComponent(version)}/reports`;
  draw(html`
    <p><a href="#/models">← Models</a></p>
    <h1>${name}@${version}</h1>
    ${found.problems.length ? failure({ title: "Some reports cannot be read.", problems: found.problems }) : nothing}
    <section class="sheet">${table("Reports", [
      { name: "measured", of: (r) => html`<a href=${`${place}/${r.id}/page`} target="_blank" rel="noopener">${r.title}</a>` },
      { name: "documents", right: true, of: (r) => count(r.rows) },
      { name: "kept", of: (r) => (r.at ? moment(r.at) : "shipped with it") },
    ], found.reports, { none: "None is kept. streamtag model evaluate --labels … --keep TITLE keeps one." })}</section>
    <section class="sheet">${markdown(found.card.replace(/^# .*\n+/, ""))}</section>
    <section class="sheet"><h2>As it is recorded</h2>
      ${branch({ sha256: found.sha256, ...rest, evaluation, training, files })}</section>`);
}

const figure = (value) => (Number.isInteger(value) ? count(value) : value.toPrecision(4));

/** A record of any depth: leaves as facts, the rest to open. */
function branch(found) {
  const entries = Object.entries(found);
  const deep = ([, value]) => value !== null && typeof value === "object" && Object.keys(value).length > 0;
  return html`${facts(entries.filter((each) => !deep(each)).map(([name, value]) => [name.replaceAll("_", " "), leaf(value)]))}
    ${entries.filter(deep).map(([name, value]) => html`<details><summary>${name.replaceAll("_", " ")}</summary>${branch(value)}</details>`)}`;
}

function leaf(value) {
  if (typeof value === "number") return figure(value);
  if (typeof value === "string" && /^\d{4}-\d\d-\d\dT/.test(value)) return moment(value);
  return value === null ? "–" : typeof value === "object" ? "none" : String(value);
}
