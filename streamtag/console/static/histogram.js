// The scores of a label, and its threshold as a line: by mouse, touch and keyboard.

import { html, nothing, svg } from "./ui.js";

const WIDTH = 1024, HEIGHT = 200, BARS = 128;

/**
 * bins: events per score bin [1024]; live, draft: thresholds; move: called with a new threshold (null: only to look at).
 * Heights are logarithmic: most scores lie near 0, and the few that count must be seen.
 */
export function histogram({ bins, live, draft, move }) {
  const per = bins.length / BARS;
  const sums = Array.from({ length: BARS }, (_, i) => bins.slice(i * per, (i + 1) * per).reduce((a, b) => a + b, 0));
  const top = Math.log1p(Math.max(1, ...sums));
  const bar = (n, i) => {
    const height = (HEIGHT * Math.log1p(n)) / top;
    const left = (i * WIDTH) / BARS;
    return svg`<rect class="bar ${(i + 0.5) / BARS >= draft ? "tagged" : ""}" x=${left + 1} y=${HEIGHT - height} width=${WIDTH / BARS - 2} height=${height}><title>${n} events</title></rect>`;
  };
  const at = (event) => {
    const box = event.currentTarget.closest("svg").getBoundingClientRect();
    return (event.clientX - box.left) / box.width;
  };
  const down = (event) => { event.currentTarget.setPointerCapture(event.pointerId); move(at(event)); };
  const drag = (event) => { if (event.currentTarget.hasPointerCapture(event.pointerId)) move(at(event)); };
  const key = (event) => {
    const step = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -16, PageUp: 16 }[event.key];
    if (!step) return;
    event.preventDefault();
    move(draft + step / 1024);
  };
  const x = draft * WIDTH;
  return html`<svg class="histogram" viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none" aria-label="histogram of scores, logarithmic">
    ${sums.map((n, i) => (n ? bar(n, i) : nothing))}
    <line class="live" x1=${live * WIDTH} x2=${live * WIDTH} y1="0" y2=${HEIGHT} />
    <line class="draft" x1=${x} x2=${x} y1="0" y2=${HEIGHT} />
    ${move ? svg`<rect class="grip" x="0" y="0" width=${WIDTH} height=${HEIGHT} @pointerdown=${down} @pointermove=${drag}></rect>
      <rect class="grip" id="grip" x=${x - 8} y="0" width="16" height=${HEIGHT} tabindex="0" role="slider" aria-label="threshold"
        aria-valuemin="0" aria-valuemax="1" aria-valuenow=${draft.toFixed(4)} @pointerdown=${down} @pointermove=${drag} @keydown=${key}></rect>` : nothing}
  </svg>
  <div class="ticks" aria-hidden="true">${[0, 0.25, 0.5, 0.75, 1].map((one) => html`<span>${one}</span>`)}</div>`;
}
