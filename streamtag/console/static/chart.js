// Lines over time, by uPlot, in the colours of the page.

import uPlot from "./vendor/uPlot.js";

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const STROKES = ["--accent", "--bad", "--good", "--warn"];

// As `uPlot` has them, with 24 hours: step in seconds, its form, and what is added where a year, a day or a minute begins.
const HOURS = [
  [86400, "{YYYY}-{MM}-{DD}", null, null, null, null, null, null, 1],
  [3600, "{HH}:00", "\n{YYYY}-{MM}-{DD}", null, "\n{MM}-{DD}", null, null, null, 1],
  [60, "{HH}:{mm}", "\n{YYYY}-{MM}-{DD}", null, "\n{MM}-{DD}", null, null, null, 1],
  [1, "{HH}:{mm}:{ss}", "\n{YYYY}-{MM}-{DD}", null, "\n{MM}-{DD}", null, null, null, 1],
];

/**
 * Draws into `place`, in the place of what is there.
 * x: seconds; lines: [{name, values, unit?, dash?}]; marks: [{at, name}] as upright lines.
 */
export function chart(place, { label, x, lines, marks = [], height = 220 }) {
  place.querySelector(".uplot")?.remove();
  place.setAttribute("role", "img");
  place.setAttribute("aria-label", label);
  const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--edge"), width: 1 }, ticks: { stroke: colour("--edge") } };
  const marked = (plot) => {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = colour("--quiet");
    ctx.setLineDash([4, 4]);
    for (const { at, name } of marks) {
      const left = Math.round(plot.valToPos(at, "x", true));
      if (left < bbox.left || left > bbox.left + bbox.width) continue;
      ctx.beginPath();
      ctx.moveTo(left, bbox.top);
      ctx.lineTo(left, bbox.top + bbox.height);
      ctx.stroke();
      ctx.fillText(name, left + 3, bbox.top + 10);
    }
    ctx.restore();
  };
  const plot = new uPlot({
    width: place.clientWidth || 600,
    height,
    axes: [{ ...axis, values: HOURS }, { ...axis, size: 60 }],
    tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "Etc/UTC"),
    scales: { y: { range: (_, low, high) => [Math.min(0, low ?? 0), (high || 1) * 1.05] } },
    series: [{ value: "{YYYY}-{MM}-{DD} {HH}:{mm} UTC" }, ...lines.map((one, i) => ({
      label: one.name,
      stroke: colour(STROKES[i % STROKES.length]),
      width: 1.5,
      dash: one.dash ? [6, 4] : undefined,
      value: (_, value) => (value === null || value === undefined ? "–" : `${value.toPrecision(4)} ${one.unit ?? ""}`),
    }))],
    hooks: { draw: [marked] },
  }, [x, ...lines.map((one) => one.values)], place);
  const resized = new ResizeObserver(() => {
    if (!plot.root.isConnected) return resized.disconnect();
    if (place.clientWidth && plot.width !== place.clientWidth) plot.setSize({ width: place.clientWidth, height });
  });
  resized.observe(place);
}
