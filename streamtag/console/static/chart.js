// Lines over time, by uPlot, in the colours of the page.

import uPlot from "./vendor/uPlot.js";

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const STROKES = ["--accent", "--bad", "--good", "--warn"];

// Hours as the rest of the console has them: UTC, from 0 to 24.
const TIMES = [
  [86_400, "{DD}.{MM}.", null, null, null, null, null, null, 1],
  [3_600, "{HH}:{mm}", "\n{DD}.{MM}.", null, "\n{DD}.{MM}.", null, null, null, 1],
  [60, "{HH}:{mm}", "\n{DD}.{MM}.", null, "\n{DD}.{MM}.", null, null, null, 1],
  [1, "{HH}:{mm}:{ss}", null, null, null, null, null, null, 1],
];
const utc = (seconds) => uPlot.tzDate(new Date(seconds * 1e3), "Etc/UTC");

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
    let before = -Infinity, row = 0;
    for (const { at, name } of [...marks].sort((a, b) => a.at - b.at)) {
      const left = Math.round(plot.valToPos(at, "x", true));
      if (left < bbox.left || left > bbox.left + bbox.width) continue;
      ctx.beginPath();
      ctx.moveTo(left, bbox.top);
      ctx.lineTo(left, bbox.top + bbox.height);
      ctx.stroke();
      ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
      const end = left > bbox.left + bbox.width * 0.85; // its name must not leave the chart
      ctx.textAlign = end ? "right" : "left";
      row = left - before < 90 * devicePixelRatio ? row + 1 : 0;
      before = left;
      ctx.fillText(name, left + (end ? -3 : 3), bbox.top + (12 + 13 * (row % 6)) * devicePixelRatio);
    }
    ctx.restore();
  };
  const plot = new uPlot({
    width: place.clientWidth || 600,
    height,
    tzDate: utc,
    axes: [{ ...axis, values: TIMES }, { ...axis, size: 60, values: (_, ticks) => ticks.map((one) => `${one} ${lines[0].unit ?? ""}`) }],
    scales: { x: { range: (_, low, high) => [low, Math.max(high, Date.now() / 1e3)] }, y: { range: (_, low, high) => [Math.min(0, low ?? 0), (high || 1) * 1.05] } },
    series: [{ label: "UTC", value: "{YYYY}-{MM}-{DD} {HH}:{mm}" }, ...lines.map((one, i) => ({
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
