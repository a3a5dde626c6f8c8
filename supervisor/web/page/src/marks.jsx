// Small marks that many parts use.

import { ticks } from './format.js';

// shapes of the ticks: how far up and down they reach, of 14.
const shapes = { a: [2, 12], e: [4, 12], m: [8, 14], x: [0, 14], d: [6, 9], h: [0, 14] };
const shown = 14; // ticks of a strip
const drawn = new Map(); // strip → paths, since most strips are alike

function paths(strip) {
  let list = drawn.get(strip);
  if (list) return list;
  const by = {};
  const last = strip.slice(-shown);
  for (let i = 0; i < last.length; i++) {
    const [top, bottom] = shapes[last[i]] || shapes.d;
    const x = (shown - last.length + i) * 5 + 1.5;
    by[last[i]] = `${by[last[i]] || ''}M${x} ${top}V${bottom}`;
  }
  list = Object.entries(by);
  if (last.length < shown) list.push(['none', `M1 11H${(shown - last.length) * 5 - 1}`]);
  if (drawn.size > 4000) drawn.clear();
  drawn.set(strip, list);
  return list;
}

// Strip shows what a leg did lately, the latest at the right.
export function Strip({ strip }) {
  return (
    <svg class="strip" viewBox="0 0 71 14" width="71" height="14" role="img" aria-label={ticks(strip)}>
      {strip ? paths(strip).map(([t, d]) => <path key={t} class={`t-${t}`} d={d} />) : <path class="t-none" d="M1 11H70" />}
    </svg>
  );
}

export const Dot = ({ kind }) => <i class={`dot k-${kind || 'idle'}`} aria-hidden="true" />;

// Badge is a word with a colour, never a colour alone.
export const Badge = ({ kind, children }) => <span class={`badge k-${kind || 'idle'}`}>{children}</span>;
