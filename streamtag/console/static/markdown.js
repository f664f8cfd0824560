// The little Markdown that model cards are written in: headings, paragraphs, lists, tables, code, bold, links.
// It becomes templates, never HTML as text: whatever a bundle's maker wrote stays text.

import { html, nothing } from "./ui.js";

const INLINE = /`([^`]+)`|\*\*([^*]+)\*\*|\[([^\]]+)\]\((https?:\/\/[^)\s]+)\)/g;
const BLOCKS = [
  [/^#{1,6} /, heading],
  [/^\|/, table],
  [/^\* /, list],
];

/** text: Markdown; its first-level headings become second-level ones, as pages have one of their own. */
export const markdown = (text) => html`<div class="markdown">${text.split(/\n{2,}/).filter((one) => one.trim()).map(block)}</div>`;

function block(text) {
  const found = BLOCKS.find(([begins]) => begins.test(text));
  return found ? found[1](text) : html`<p>${inline(text)}</p>`;
}

function heading(text) {
  const [, marks, words] = /^(#+) (.*)/.exec(text);
  return marks.length <= 2 ? html`<h2>${inline(words)}</h2>` : html`<h3>${inline(words)}</h3>`;
}

function list(text) {
  return html`<ul>${text.split(/^\* /m).slice(1).map((one) => html`<li>${inline(one)}</li>`)}</ul>`;
}

function table(text) {
  const [head, , ...rows] = text.trim().split("\n").map(cells);
  return html`<div class="scroll" role="group" aria-label=${head.join(", ")} tabindex="0"><table>
    <thead><tr>${head.map((one) => html`<th scope="col">${inline(one)}</th>`)}</tr></thead>
    <tbody>${rows.map((row) => html`<tr>${row.map((one) => html`<td class=${/^[\d<−-][\d.,%… ()<]*$/.test(one) ? "number" : ""}>${inline(one)}</td>`)}</tr>`)}</tbody>
  </table></div>`;
}

const cells = (line) => line.replace(/^\||\|\s*$/g, "").split(/(?<!\\)\|/).map((one) => one.trim().replaceAll("\\|", "|"));

function inline(text) {
  const parts = [];
  let at = 0;
  for (const found of text.matchAll(INLINE)) {
    const [whole, code, bold, words, address] = found;
    parts.push(text.slice(at, found.index), code !== undefined ? html`<code>${code}</code>` : bold !== undefined ? html`<strong>${bold}</strong>` : html`<a href=${address} rel="noreferrer noopener" target="_blank">${words}</a>`);
    at = found.index + whole.length;
  }
  return at === 0 ? text || nothing : [...parts, text.slice(at)];
}
