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
// How far apart ticks may be: never less than a second, which is what they say.
const SECONDS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 432000, 864000, 2592000];
const utc = (seconds) => uPlot.tzDate(new Date(seconds * 1e3), "Etc/UTC");

/**
 * Draws into `place`, in the place of what is there.
 * x: seconds; lines: [{name, values, unit?, dash?, colour?, words?}], a value is `words(value)`, else with its unit;
 * marks: [{at, name}] as upright lines; levels: [{at, name, colour, side?}] as level ones; until: x goes on to then, at least;
 * y: {range, steps, words}, of the axis: what it shows of all values, how far apart ticks may be, and what they say.
 */
export function chart(place, { label, x, lines, marks = [], levels = [], until = Date.now() / 1e3, y = null, height = 220 }) {
  place.querySelector(".uplot")?.remove();
  place.setAttribute("role", "img");
  place.setAttribute("aria-label", label);
  const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--edge"), width: 1 }, ticks: { stroke: colour("--edge") } };
  const marked = (plot) => {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = colour("--quiet");
    ctx.setLineDash([4, 4]);
    ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
    let before = -Infinity, row = 0;
    for (const { at, name } of [...marks].sort((a, b) => a.at - b.at)) {
      const left = Math.round(plot.valToPos(at, "x", true));
      if (left < bbox.left || left > bbox.left + bbox.width) continue;
      ctx.beginPath();
      ctx.moveTo(left, bbox.top);
      ctx.lineTo(left, bbox.top + bbox.height);
      ctx.stroke();
      const end = left > bbox.left + bbox.width * 0.85; // its name must not leave the chart
      ctx.textAlign = end ? "right" : "left";
      row = left - before < 90 * devicePixelRatio ? row + 1 : 0;
      before = left;
      ctx.fillText(name, left + (end ? -3 : 3), bbox.top + (12 + 13 * (row % 6)) * devicePixelRatio);
    }
    ctx.textBaseline = "bottom";
    for (const { at, name, colour: its, side = "right" } of levels) {
      const top = Math.round(plot.valToPos(at, "y", true)), right = bbox.left + bbox.width;
      ctx.strokeStyle = ctx.fillStyle = colour(its);
      ctx.setLineDash([2, 4]);
      ctx.beginPath();
      ctx.moveTo(bbox.left, top);
      ctx.lineTo(right, top);
      ctx.stroke();
      ctx.textAlign = side;
      ctx.fillText(name, side === "right" ? right - 3 : bbox.left + 3, top - 2 * devicePixelRatio);
    }
    ctx.restore();
  };
  const said = ({ words, unit }, value) => (value === null || value === undefined ? "–" : words ? words(value) : `${value.toPrecision(4)} ${unit ?? ""}`);
  const plot = new uPlot({
    width: place.clientWidth || 600,
    height,
    tzDate: utc,
    axes: [{ ...axis, values: TIMES, incrs: SECONDS, space: 80 }, { ...axis, size: 60, ...(y && { incrs: y.steps }), values: (_, ticks) => ticks.map(y ? y.words : (one) => `${one} ${lines[0].unit ?? ""}`) }],
    scales: { x: { range: (_, low, high) => [low, Math.max(high, until)] }, y: { range: (_, low, high) => y?.range ?? [Math.min(0, low ?? 0), (high || 1) * 1.05] } },
    series: [{ label: "UTC", value: "{YYYY}-{MM}-{DD} {HH}:{mm}" }, ...lines.map((one, i) => ({
      label: one.name,
      stroke: colour(one.colour ?? STROKES[i % STROKES.length]),
      width: 1.5,
      dash: one.dash ? [6, 4] : undefined,
      value: (_, value) => said(one, value),
    }))],
    hooks: { draw: [marked] },
  }, [x, ...lines.map((one) => one.values)], place);
  const resized = new ResizeObserver(() => {
    if (!plot.root.isConnected) return resized.disconnect();
    if (place.clientWidth && plot.width !== place.clientWidth) plot.setSize({ width: place.clientWidth, height });
  });
  resized.observe(place);
}
