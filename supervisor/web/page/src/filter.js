// Which calls are shown, and in what order. Over 50,000 calls each step has to
// stay far below the time that a person notices.

import { held, liveness, trouble } from './calls.js';
import { userOf } from './format.js';

// ages are the values of the filter "older".
export const ages = { '1m': 60e3, '5m': 300e3, '15m': 900e3, '1h': 3600e3, '4h': 14400e3, '1d': 86400e3 };

// lives are the values of the filter "liveness" beside those of the API.
const lives = {
  live: (c) => liveness(c) === 'alive' || liveness(c) === 'reachable',
  dying: (c) => trouble(c) >= 3,
  held: (c) => held(c) !== '',
};

// matcher makes a function out of a filter: only what is asked for is looked at.
export function matcher(f, now) {
  const tests = [];
  if (f.number) {
    const part = f.number.toLowerCase();
    const has = /[a-z]/.test(part) ? (text) => text.toLowerCase().includes(part) : (text) => text.includes(part);
    tests.push((c) => has(c.from) || has(c.to) || c.id === part);
  }
  if (f.trunk) tests.push((c) => c.trunkIn === f.trunk || c.trunkOut === f.trunk);
  if (f.state && f.state !== 'ended') tests.push((c) => c.state === f.state);
  if (f.liveness) tests.push(lives[f.liveness] || ((c) => liveness(c) === f.liveness));
  if (f.node) tests.push((c) => c.node === f.node);
  if (f.older) {
    const before = now - (ages[f.older] || 0);
    tests.push((c) => c.started <= before);
  }
  if (tests.length === 1) return tests[0];
  return (c) => tests.every((t) => t(c));
}

export const filtered = (f) => Object.values(f).some((v) => v !== '');

// user is the part of a name-addr by which it is sorted. It is kept with the
// call: the same ones are sorted again and again.
const user = (c, side) => (c.users[side] ??= userOf(side === 0 ? c.from : c.to));
const oldest = (c) => Math.min(c.caller.alive || Infinity, c.callee.alive || Infinity);

// texts are the sorts by text, numbers those by number. A "-" before the name
// turns the order round.
const texts = {
  state: (c) => c.state,
  from: (c) => user(c, 0),
  to: (c) => user(c, 1),
  trunks: (c) => `${c.trunkIn} ${c.trunkOut}`,
  node: (c) => c.node,
};
const numbers = {
  trouble: (c) => -trouble(c),
  age: (c) => c.started / unit,
  caller: (c) => -c.caller.misses,
  callee: (c) => -c.callee.misses,
  evidence: (c) => oldest(c) / unit,
  ended: (c) => -c.ended / unit,
};
const unit = 10; // ms between two times that are sorted apart

// sorted puts calls in order; those that are equal by age.
export function sorted(list, sort) {
  const aged = ordered(list, Float64Array.from(list, numbers.age), false);
  const name = sort.replace(/^-/, '');
  const turned = sort.startsWith('-');
  if (name === 'age') return turned ? aged.reverse() : aged;
  const keys = name in texts ? ranks(aged, texts[name]) : Float64Array.from(aged, numbers[name] || numbers.trouble);
  return ordered(aged, keys, turned);
}

// ordered puts a list in the order of its keys, and of their places in it where
// keys are equal. Both go into one number each, since an array of numbers is
// sorted many times faster than by a function that compares.
function ordered(list, keys, turned) {
  let least = Infinity;
  let most = -Infinity;
  for (const k of keys) {
    if (k < least) least = k;
    if (k > most && k !== Infinity) most = k;
  }
  for (let i = 0; i < keys.length; i++) {
    const k = Math.min(keys[i], most + 1); // Infinity is not known, and comes last
    keys[i] = Math.min(Math.floor(turned ? most + 1 - k : k - least), widest) * places + i;
  }
  keys.sort();
  return Array.from(keys, (k) => list[k % places]);
}
const places = 2 ** 21;
const widest = 2 ** 32 - 1; // both together are below 2 ** 53

// ranks turns texts into numbers of the same order.
function ranks(list, text) {
  const all = list.map(text);
  const rank = new Map();
  for (const t of all) rank.set(t, 0);
  let n = 0;
  for (const t of [...rank.keys()].sort()) rank.set(t, n++);
  return Float64Array.from(all, (t) => rank.get(t));
}
