// What a move of one threshold would have done to recorded events, for people.

import { count, html, nothing, plural, short, tile } from "./ui.js";

/** preview: as the API answers; id: of the label. */
export function effect(preview, id) {
  const found = preview.effects.find((one) => one.label === id);
  if (!found) return html`<p class="quiet">No recorded event was scored for this label: nobody can say what it would do.</p>`;
  const hourly = (n) => (n / preview.hours < 100 ? n / preview.hours : Math.round(n / preview.hours));
  const time = preview.hours < 1 ? plural(Math.max(1, Math.round(60 * preview.hours)), "minute") : `${preview.hours.toFixed(1)} hours`;
  const minutes = (range) => Math.round((hourly(range.expected) * preview.review_seconds) / 60);
  const from = (was, is) => html`<span class="quiet">${was}</span> → ${is}`;
  return html`
    <div class="tiles">
      ${tile("tags per hour", from(short(hourly(found.now.expected)), short(hourly(found.then.expected))), sure(found.then, hourly))}
      ${tile("newly tagged, per hour", short(hourly(found.gained.expected)), sure(found.gained, hourly))}
      ${tile("no longer tagged, per hour", short(hourly(found.lost.expected)), sure(found.lost, hourly))}
      ${tile("reviewer minutes per hour", from(short(minutes(found.now)), short(minutes(found.then))),
        `at ${preview.review_seconds} s a tag: ${people(minutes(found.now))} → ${people(minutes(found.then))} at work`)}
    </div>
    <p class="quiet">From ${count(found.events)} events, as many as come in ${time}${preview.exact ? "" : "; some positions are missing"}.
      ${preview.others ? `${count(preview.others)} further events were decided by another bundle: nothing is known of their scores, and their time counts as theirs.` : ""}
      How many of the tags are right, no count can say.</p>`;
}

/** What the width of a score bin, or a segment, leaves open. */
const sure = ({ low, high }, hourly) => (low === high ? "exact" : html`between ${figure(hourly(low))} and ${figure(hourly(high))}`);
const figure = (n) => (n < 1000 ? short(n) : count(n)); // to one decimal as the tile is, and not as short where both ends would read alike
const people = (minutes) => (minutes < 6 ? "hardly anybody" : `${(minutes / 60).toFixed(minutes < 600 ? 1 : 0)} people`);

/** Why one person alone may not, or must say so twice. */
export const hurdles = ({ needs, guard_rail: steps }) => needs.length
  ? html`<p>Needs a second person: ${needs.join("; ")}.</p>`
  : steps.length ? html`<p>A large step: ${steps.join("; ")}.</p>` : nothing;
