// The list that the table shows: computed anew when the filter changes, and a
// few times a second while calls come and go.

import { computed, signal } from '@preact/signals';
import { now } from './api.js';
import { calls, ended, lately, ordered, trouble } from './calls.js';
import { filtered, matcher, sorted } from './filter.js';
import { filter, sort } from './url.js';

// second ticks for what grows older on the screen.
export const second = signal(now());
setInterval(() => { if (!document.hidden) second.value = now(); }, 1000);

// shown is the list: {list, total}.
export const shown = computed(() => {
  ordered.value;
  const f = filter.value;
  const t = now();
  const past = f.state === 'ended';
  const match = filtered(f) ? matcher(f, t) : () => true;
  const list = [];
  for (const c of (past ? ended : calls).values()) if (match(c)) list.push(c);
  const ongoing = list.length;
  if (!past) for (const c of ended.values()) if (t - c.ended < lately && !f.state && match(c)) list.push(c);
  return { ongoing, list: sorted(list, past && sort.value === 'trouble' ? 'ended' : sort.value), total: past ? ended.size : calls.size };
});

// byTrunk counts the channels of each trunk: a call has one on each side, two of
// a trunk that it comes from and goes to.
export const byTrunk = computed(() => {
  ordered.value;
  const all = new Map();
  const add = (name, c, first) => {
    if (!name) return;
    let t = all.get(name);
    if (!t) all.set(name, (t = { name, used: 0, suspect: 0, held: 0 }));
    t.used++;
    const bad = first ? trouble(c) : 0;
    if (bad >= 6) t.held++;
    else if (bad >= 3) t.suspect++;
  };
  for (const c of calls.values()) {
    add(c.trunkIn, c, true);
    add(c.trunkOut, c, c.trunkOut !== c.trunkIn);
  }
  return all;
});

// nodesOf are the nodes that calls belong to.
export const nodesOf = computed(() => {
  ordered.value;
  const names = new Set();
  for (const c of calls.values()) names.add(c.node);
  return [...names].sort();
});

// picked are the ids of the calls that were marked.
export const picked = signal(new Set());
