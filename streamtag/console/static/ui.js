// What pages are made of: small pieces, each a template. Text always goes through lit, which escapes it.

import { html, nothing, render, svg } from "./vendor/lit-html.js";

export { html, nothing, render, svg };

const NUMBER = new Intl.NumberFormat("en");
const SHORT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

export const count = (n) => (n === null || n === undefined ? "–" : NUMBER.format(Math.round(n)));
export const short = (n) => (n === null || n === undefined ? "–" : SHORT.format(n));
export const percent = (share, digits = 2) => (share === null || share === undefined ? "–" : `${(100 * share).toFixed(digits)}\u00a0%`);
/** A share that somebody has chosen, in percent as they wrote it. */
export const chosen = (share) => `${Number((100 * share).toPrecision(4))}\u00a0%`;
export const score = (value) => (value === null || value === undefined ? "–" : value.toFixed(4).replace(/0{1,2}$/, ""));

/** How long something takes. */
export function took(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms >= 3_600_000) return "over an hour";
  return ms < 1_000 ? `${Math.round(ms)}\u00a0ms` : ms < 60_000 ? `${(ms / 1_000).toFixed(1)}\u00a0s` : `${Math.round(ms / 60_000)}\u00a0min`;
}

const date = (at) => (at instanceof Date ? at : new Date(at));

/** `1 label`, `3 labels`. */
export const plural = (n, thing) => `${count(n)} ${thing}${n === 1 ? "" : "s"}`;

/** A moment, UTC, to the second. */
export const moment = (at) => (at ? date(at).toISOString().slice(0, 19).replace("T", " ") + " UTC" : "–");

/** How long ago, with the moment as its title. */
export function ago(at) {
  if (!at) return "–";
  const s = Math.max(0, (Date.now() - date(at)) / 1000);
  const words = s < 60 ? `${Math.round(s)} s` : s < 3600 ? `${Math.round(s / 60)} min` : s < 172800 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86400)} d`;
  return html`<time datetime=${date(at).toISOString()} title=${moment(at)}>${words} ago</time>`;
}

/** kind: good, warn, bad, mark (of a thing, not of its state) or quiet; colour is never all that tells them apart. */
export const badge = (kind, words) => html`<span class="badge ${kind}">${{ good: "✓", warn: "!", bad: "✕", mark: "◆" }[kind] ?? "·"} ${words}</span>`;

/** Of a label whose misses are worse than its false alarms. */
export const critical = (label) => (label?.critical ? html` ${badge("mark", "critical")}` : nothing);

export const failure = (error, problems = error.problems) => html`
  <div class="failure" role="alert">
    <strong>${error.title ?? "failed"}</strong> ${error.detail || error.message}
    ${problems?.length ? html`<ul>${problems.map((one) => html`<li>${one}</li>`)}</ul>` : nothing}
    ${error.hint ? html`<p class="quiet">${error.hint}</p>` : nothing}
  </div>`;

/** What there is instead of rows, and what to do for some. */
export const empty = (words, next = "") => html`<p class="empty">${words} ${next && html`<span class="quiet">${next}</span>`}</p>`;

/**
 * A table that scrolls inside itself on a narrow screen.
 * columns: [{name, of: row => template, right?: boolean}]
 */
export const table = (caption, columns, rows, { none = "Nothing yet." } = {}) =>
  rows.length === 0 ? empty(none) : html`
  <div class="scroll" role="region" aria-label=${caption} tabindex="0"><table>
    <caption class="unseen">${caption}</caption>
    <thead><tr>${columns.map((one) => html`<th scope="col" class=${one.right ? "right" : ""}>${one.name || html`<span class="unseen">more</span>`}</th>`)}</tr></thead>
    <tbody>${rows.map((row) => html`<tr>${columns.map((one) => html`<td class=${one.right ? "right" : ""}>${one.of(row)}</td>`)}</tr>`)}</tbody>
  </table></div>`;

/** Names and values beside each other. */
export const facts = (pairs) => html`<dl class="facts">${pairs.filter(Boolean).map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;

/** One figure that a page is about. */
export const tile = (name, value, below = nothing) => html`<div class="tile"><span>${name}</span><strong>${value}</strong><small>${below}</small></div>`;

/** A line of numbers over time; gaps where null. */
export function sparkline(values, label) {
  const known = values.filter((one) => one !== null);
  if (known.length < 2) return nothing;
  const top = Math.max(...known) || 1;
  const step = 120 / (values.length - 1);
  let path = "", gap = true;
  values.forEach((one, i) => {
    if (one !== null) path += `${gap ? "M" : "L"}${(i * step).toFixed(1)} ${(26 - (24 * one) / top).toFixed(1)}`;
    gap = one === null;
  });
  return html`<svg class="sparkline" viewBox="0 0 120 28" role="img" aria-label=${label}><path d=${path} /></svg>`;
}

/** Says something in passing, at the lower edge. */
export function notice(words, kind = "quiet") {
  const box = document.getElementById("notices");
  const one = document.createElement("p");
  one.className = `notice ${kind}`;
  one.textContent = words;
  box.append(one);
  while (box.children.length > 4) box.firstChild.remove();
  setTimeout(() => one.remove(), 8_000);
}

/**
 * Asks before something is done; resolves to what was entered, or null, and to null at once where a question is open
 * already (a second click came while the first was prepared). `act` is called with it and may throw: the
 * dialog then stays open and shows why, at the field where a problem is `about` it.
 * fields: [{name, label, type?, value?, required?, hint?, min?, max?, options?, about?}]; options of a `select`: [[value, words]];
 * about: pattern of problems that are its own where something was entered.
 */
export function ask({ title, body = nothing, fields = [], action = "Publish", danger = false, act }) {
  if (document.querySelector("dialog[open]")) return Promise.resolve(null);
  return new Promise((resolve) => {
    const dialog = document.createElement("dialog");
    document.body.append(dialog);
    let error = null, busy = false, entered = {};
    const close = (value) => { dialog.close(); dialog.remove(); resolve(value); };
    // What is under way is not called off by looking away: whoever closes the dialog would not hear how it ended.
    const cancel = (event) => { if (busy) event.preventDefault(); else close(null); };
    // A browser may close it without asking, the second time that Escape is pressed.
    const closed = () => { if (dialog.isConnected) { if (busy) dialog.showModal(); else close(null); } };
    const submit = async (event) => {
      event.preventDefault();
      const form = event.target;
      const given = Object.fromEntries(fields.map((one) => [one.name, one.type === "checkbox" ? form.elements[one.name].checked : form.elements[one.name].value.trim()]));
      busy = true; error = null; entered = given; draw();
      try { close((await act(given)) ?? given); } catch (found) {
        error = found; busy = false; draw();
        dialog.querySelector("[aria-invalid=true]")?.focus();
      }
    };
    const owner = (problem) => fields.find((one) => one.about?.test(problem) && entered[one.name]);
    const wrong = (one) => (error?.problems ?? []).filter((problem) => owner(problem) === one);
    const field = (one) => {
      const found = wrong(one), bad = found.length > 0, told = `wrong-${one.name}`;
      return html`<label class=${one.type === "checkbox" ? "check" : ""}><span>${one.label}</span>
      ${one.type === "textarea"
        ? html`<textarea name=${one.name} rows="3" ?required=${one.required !== false} aria-invalid=${bad} aria-describedby=${told} .value=${one.value ?? ""}></textarea>`
        : one.type === "select" ? html`<select name=${one.name}>${one.options.map(([value, words]) => html`<option value=${value}>${words}</option>`)}</select>`
        : html`<input name=${one.name} type=${one.type ?? "text"} step=${one.type === "number" ? "any" : nothing} min=${one.min ?? nothing} max=${one.max ?? nothing} .value=${one.value ?? ""} ?required=${one.required !== false && one.type !== "checkbox"} aria-invalid=${bad} aria-describedby=${told}>`}
      ${one.hint ? html`<small>${one.hint}</small>` : nothing}</label>
      <div id=${told} class="wrong">${found.map((problem) => html`<p>${problem}</p>`)}</div>`;
    };
    const draw = () => render(html`<form @submit=${submit}>
      <h2>${title}</h2>${body}${fields.map(field)}${error ? failure(error, error.problems?.filter((problem) => !owner(problem))) : nothing}
      <div class="buttons"><button type="button" class="plain" ?disabled=${busy} @click=${() => close(null)}>Cancel</button>
      <button class=${danger ? "danger" : "main"} ?disabled=${busy}>${busy ? "…" : action}</button></div></form>`, dialog);
    dialog.setAttribute("aria-label", title);
    dialog.addEventListener("cancel", cancel);
    dialog.addEventListener("close", closed);
    draw();
    dialog.showModal();
    dialog.querySelector("input, select, textarea, button.main, button.danger")?.focus();
  });
}
