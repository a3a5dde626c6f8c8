// The stream of changes, and what it starts from. The stream is opened first and
// the table is read after it, so that nothing falls between the two.

import { computed, signal } from '@preact/signals';
import { ask, get, now } from './api.js';
import * as calls from './calls.js';
import { when } from './format.js';

export const link = signal('connecting'); // connecting, live or lost
export const reading = signal(true); // the table is on its way
export const partial = signal(false); // only the calls of one node are known
export const overview = signal(null);
export const trunks = signal(new Map()); // name → as the API shows it
export const nodes = signal([]);
export const batches = signal(new Map()); // id → how far it is
export const progress = signal(new Map()); // id → what takes a while, and how far it is
export const me = signal(null); // who looks at the page: {name, role, node}
export const touched = signal(null); // the call of the last event, for who looks at it

// acts says whether who looks at the page may do anything, as far as is known.
export const acts = computed(() => me.value !== null && me.value.role !== 'viewer');

const types = ['call', 'ended', 'overview', 'store', 'trunk', 'node', 'batch', 'progress', 'reset'];
const again = 5000; // ms until a stream that was refused is asked for again
const forgotten = 60e3; // ms after which nothing is known of what has ended
const spread = 2000; // ms over which the pages read the calls of a node again

// run keeps the stream open. The browser comes back by itself and says which
// event it has; a server that does not know that one any more sends a reset.
export function run() {
  const stream = new EventSource('/api/v1/events');
  let known = false;
  stream.onopen = () => {
    link.value = 'live';
    if (!known) readAll();
    known = true;
  };
  stream.onerror = () => {
    link.value = 'lost';
    if (stream.readyState === EventSource.CLOSED) setTimeout(run, again);
  };
  for (const type of types) stream.addEventListener(type, (e) => heard(type, JSON.parse(e.data)));
}

function heard(type, j) {
  switch (type) {
    case 'call':
      calls.put(j);
      touched.value = j;
      break;
    case 'ended':
      calls.end(j);
      touched.value = j;
      break;
    case 'overview':
      overview.value = j;
      break;
    case 'store':
      if (overview.value) overview.value = { ...overview.value, store: j };
      break;
    case 'trunk':
      trunks.value = new Map(trunks.value).set(j.name, { usage: trunks.value.get(j.name)?.usage, ...j });
      break;
    case 'node':
      nodes.value = [...nodes.value.filter((n) => n.name !== j.name), j].sort((a, b) => (a.name < b.name ? -1 : 1));
      break;
    case 'batch':
      batches.value = new Map(batches.value).set(j.id, j);
      break;
    case 'progress':
      progress.value = new Map([...progress.value].filter(([, p]) => !p.ended || now() - when(p.ended) < forgotten)).set(j.id, j);
      break;
    default: // reset
      if (j.node) setTimeout(readTable, spread * Math.random(), j.node);
      else readAll();
  }
}

// readAll reads what there is now.
export async function readAll() {
  const quiet = () => {}; // what cannot be read now comes with the next event or reset
  get('/api/v1/overview').then((j) => { overview.value = j; }).catch(quiet);
  get('/api/v1/trunks').then((j) => { trunks.value = new Map(j.trunks.map((t) => [t.name, t])); }).catch(quiet);
  get('/api/v1/nodes').then((j) => { nodes.value = j.nodes; }).catch(quiet);
  get('/api/v1/me').then((j) => { me.value = j; }).catch(quiet);
  get('/api/v1/progress').then((j) => { progress.value = new Map(j.progress.map((p) => [p.id, p])); }).catch(quiet);
  readEnded().catch(quiet);
  await readTable('');
}

// readEnded reads the calls that ended lately, of all nodes.
async function readEnded() {
  let next = '';
  do {
    const j = await get(`/api/v1/calls?state=terminated&limit=1000&cursor=${encodeURIComponent(next)}`);
    j.calls.forEach(calls.end);
    next = j.next;
  } while (next);
}

// readTable reads all calls, or those of one node, after what is being read
// already. What is waited for already is not asked for twice.
const awaited = new Set();
let turn = Promise.resolve();
function readTable(node) {
  if (awaited.has('') || awaited.has(node)) return turn;
  awaited.add(node);
  turn = turn.then(async () => {
    awaited.delete(node);
    if (!node) reading.value = true;
    try {
      await readRows(node);
    } catch { /* the stream says what changes; the next reset reads again */ }
    if (!node) reading.value = false;
  });
  return turn;
}

// readRows takes the table batch by batch: see supervisor/web/table.go.
async function readRows(node) {
  const r = await ask(node ? `/api/v1/table?node=${encodeURIComponent(node)}` : '/api/v1/table');
  calls.begin();
  const reader = r.body.pipeThrough(new TextDecoderStream()).getReader();
  const texts = [];
  let rest = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split('\n');
    rest = lines.pop();
    for (const line of lines) {
      const batch = JSON.parse(line);
      if (batch.end) {
        if (!node) partial.value = !!batch.partial;
        calls.finish(!!batch.partial, node);
        continue;
      }
      for (const t of batch.texts) texts.push(t);
      for (const row of batch.calls) calls.row(row, texts);
      calls.rows();
    }
  }
}
