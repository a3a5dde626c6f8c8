// What the page knows of calls: one small record each, kept in step with the
// server by what changes. 50,000 of them fit.

import { batch, signal } from '@preact/signals';
import { when } from './format.js';

const stripLength = 24; // ticks kept of a leg
const mostEnded = 1000; // calls that ended
export const lately = 10e3; // ms for which one that ended stays among the others

export const calls = new Map(); // id → Call, that go on
export const ended = new Map(); // id → Call, the oldest first
export const changed = signal(0); // counts up when something on the screen may have changed
export const ordered = signal(0); // counts up when a call came, went, or changed its state

class Leg {
  liveness = '';
  misses = 0;
  alive = 0; // last sign of life, ms
  evidence = '';
  strip = '';
  held = '';
}

class Call {
  constructor(id) {
    this.id = id;
    this.state = '';
    this.from = '';
    this.to = '';
    this.trunkIn = '';
    this.trunkOut = '';
    this.node = '';
    this.started = 0;
    this.answered = 0;
    this.ended = 0;
    this.endedBy = '';
    this.endText = '';
    this.caller = new Leg();
    this.callee = new Leg();
    this.seen = 0; // of which round of reading
    this.users = [null, null]; // see filter.js
  }
}

const badness = { gone: 5, silent: 4, suspect: 3, reachable: 2, unsupported: 2, unproven: 1, alive: 0, '': 0 };

// liveness is the worse of the two legs'.
export const liveness = (c) => (badness[c.callee.liveness] > badness[c.caller.liveness] ? c.callee.liveness : c.caller.liveness);
export const held = (c) => c.caller.held || c.callee.held;

// trouble is how much a call needs an eye: what was held first, then what is
// silent or suspect.
export function trouble(c) {
  if (c.endedBy) return 0;
  return held(c) ? 6 : Math.max(badness[c.caller.liveness] || 0, badness[c.callee.liveness] || 0);
}

// bump has the screen follow what changed: soon, but never so often that nothing
// else could be done meanwhile.
let timer = 0;
let order = false;
let pace = 0;
function bump(again) {
  order ||= again;
  timer ||= setTimeout(show, pace);
}

function show() {
  const began = performance.now();
  batch(() => {
    timer = 0;
    changed.value++;
    if (order) ordered.value++;
    order = false;
  });
  pace = Math.max(least, share * (performance.now() - began));
}
const least = 200; // ms between two looks at what changed
const share = 10; // of that time may be spent on it

// round begins to read all calls anew, or those of one node; what is not met in
// it by finish is gone. What the stream says of a call meanwhile is newer than what
// the table says.
let round = 0;
export const begin = () => ++round;

export function finish(partial, node) {
  if (partial) return;
  for (const c of calls.values()) if (c.seen < round && (!node || c.node === node)) calls.delete(c.id);
  bump(true);
}

// row takes one row of the table, see supervisor/web/table.go.
export function row(r, texts) {
  if (ended.has(r[0])) return;
  let c = calls.get(r[0]);
  if (!c) calls.set(r[0], (c = new Call(r[0])));
  else if (c.seen === round) return;
  const text = (i) => (typeof i === 'number' ? texts[i] : i);
  c.seen = round;
  c.state = text(r[1]);
  c.from = r[2];
  c.to = r[3];
  c.trunkIn = text(r[4]);
  c.trunkOut = text(r[5]);
  c.node = text(r[6]);
  c.started = r[7];
  c.answered = r[8];
  for (const [l, v] of [[c.caller, r[9]], [c.callee, r[10]]]) {
    if (v[2] < l.alive) continue; // the store does not know of each sign of life
    l.liveness = text(v[0]);
    l.misses = v[1];
    l.alive = v[2];
    l.evidence = text(v[3]);
    if (v[4]) l.strip = v[4];
    l.held = text(v[5]);
  }
}

// rows says that a batch was taken.
export const rows = () => bump(true);

// put takes a call as the API shows it.
export function put(j) {
  if (j.state === 'terminated') return end(j);
  if (ended.has(j.id)) return;
  let c = calls.get(j.id);
  if (!c) calls.set(j.id, (c = new Call(j.id)));
  c.seen = round;
  bump(take(c, j));
}

// end takes a call that has ended.
export function end(j) {
  const c = calls.get(j.id) || ended.get(j.id) || new Call(j.id);
  calls.delete(j.id);
  take(c, j);
  c.state = 'terminated';
  c.ended = when(j.ended) || Date.now();
  c.endText = j.end_text || '';
  ended.set(j.id, c);
  setTimeout(bump, lately, true);
  if (ended.size > mostEnded) ended.delete(ended.keys().next().value);
  bump(true);
}

// take copies what the API says, and says whether the place of the call in a
// list may be another now.
function take(c, j) {
  const known = c.state !== '';
  const before = trouble(c);
  const other = c.state !== j.state || c.trunkOut !== j.trunk_out || c.node !== j.node;
  c.state = j.state;
  c.trunkIn = j.trunk_in;
  c.trunkOut = j.trunk_out;
  c.node = j.node;
  c.endedBy = j.ended_by || '';
  c.started = when(j.started);
  c.answered = when(j.answered);
  if (j.caller) takeLeg(c.caller, j.caller, known);
  if (j.callee) takeLeg(c.callee, j.callee, known);
  if (j.caller?.uri && c.from !== j.caller.uri) {
    c.from = j.caller.uri;
    c.users[0] = null;
  }
  if (j.callee?.uri && c.to !== j.callee.uri) {
    c.to = j.callee.uri;
    c.users[1] = null;
  }
  return other || before !== trouble(c);
}

const probes = /^\d{3} (OPTIONS|UPDATE|INVITE)$/;

// takeLeg also adds what is new to the strip of a leg that was known before.
function takeLeg(l, j, known) {
  const alive = when(j.last_alive);
  let tick = '';
  if (j.misses > l.misses) tick = 'm';
  else if (j.liveness === 'gone' && l.liveness !== 'gone') tick = 'x';
  else if (j.held && !l.held) tick = 'h';
  else if (alive > l.alive) tick = probes.test(j.last_evidence) ? 'a' : 'e';
  if (tick && known) l.strip = (l.strip + tick).slice(-stripLength);
  l.liveness = j.liveness;
  l.misses = j.misses || 0;
  l.alive = alive;
  l.evidence = j.last_evidence;
  l.held = j.held || '';
}
