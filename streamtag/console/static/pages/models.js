// The bundles that can be found, and everything that one of them says of itself.

import { badge, count, facts, failure, html, moment, nothing, score, table } from "../ui.js";

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
  const path = `${encodeURIComponent(name)}/${encodeURIComponent(version)}`;
  const found = await api.get(`/v1/models/${path}`, { signal });
  const { manifest } = found;
  const calibration = new Map(manifest.calibration.map((each) => [each.label, each]));
  const figures = manifest.evaluation ?? {};
  const perLabel = figures.labels && !Array.isArray(figures.labels) ? figures.labels : {};
  const columns = [...new Set(Object.values(perLabel).flatMap((each) => Object.keys(numbers(each))))].slice(0, 6);
  draw(html`
    <p><a href="#/models">← Models</a></p>
    <h1>${name}@${version}</h1>
    <p>${manifest.description}</p>
    <section class="sheet">${facts([
      ["identity", html`<code>${found.sha256}</code>`],
      ["labels", count(manifest.labels.length)],
      ["reads", manifest.preprocessing.contract ?? manifest.preprocessing.type ?? Object.values(manifest.preprocessing).find((each) => typeof each === "string")],
      ["calibration", manifest.calibration.length ? [...new Set(manifest.calibration.map((each) => each.method))].join(", ") : "none: scores are the graph's own"],
      ["files", `${Object.keys(manifest.files).length}, ${bytes(Object.values(manifest.files).reduce((sum, each) => sum + each.size, 0))}`],
    ])}</section>
    <section class="sheet"><h2>Labels</h2>${table("Labels", [
      { name: "label", of: (l) => html`${l.id} ${l.critical ? badge("mark", "critical") : nothing}` },
      { name: "means", of: (l) => l.description },
      { name: "default threshold", right: true, of: (l) => score(l.threshold) },
      { name: "calibrated on", right: true, of: (l) => calibrated(calibration.get(l.id)) },
      ...columns.map((column) => ({ name: column.replaceAll("_", " "), right: true, of: (l) => figure(perLabel[l.id]?.[column]) })),
    ], manifest.labels)}</section>
    ${tree("Figures on data that it never saw", figures)}
    ${tree("How it was made", manifest.training)}`);
}

const numbers = (found) => Object.fromEntries(Object.entries(found ?? {}).filter(([, value]) => typeof value === "number"));
const figure = (value) => (typeof value !== "number" ? "–" : Number.isInteger(value) ? count(value) : value.toPrecision(3));
const calibrated = (one) => (one?.rows ? `${count(one.rows)} (${count(one.positives)} of it)` : "–");
const bytes = (n) => (n < 1_048_576 ? `${Math.round(n / 1024)} KiB` : `${(n / 1_048_576).toFixed(1)} MiB`);

const tree = (words, found) => (Object.keys(found ?? {}).length === 0 ? nothing : html`<section class="sheet"><h2>${words}</h2>${branch(found)}</section>`);

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
