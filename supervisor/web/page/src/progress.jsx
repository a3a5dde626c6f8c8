// What takes a while, and how far it is: a node that starts with many calls,
// adopts those of another, drains, or hangs up a batch.

import { useState } from 'preact/hooks';
import { now, send } from './api.js';
import { count, when } from './format.js';
import { acts, progress } from './live.js';
import { second } from './view.js';

const stays = 5000; // ms that stand there what has ended

const titles = {
  start: (p) => `${p.node} starts, calls read back`,
  adoption: (p) => `${p.node} adopts the calls of ${p.of}`,
  hangup: (p) => `${p.node} hangs up a batch`,
  release: (p) => `${p.node} ends ${p.of}`,
  drain: (p) => `drain of ${p.of}, calls that have ended`,
};
const title = (p) => (titles[p.what] || ((x) => `${x.node}: ${x.what} ${x.of}`))(p);

const far = (p) => (p.total ? `${count(p.done)} of ${count(p.total)}` : count(p.done));
const outcome = (p) => (p.total && p.done < p.total ? 'stopped' : 'done');

// spoken changes in quarters: each number would be too much for who listens.
const spoken = (p) => {
  if (p.ended) return `${title(p)}: ${outcome(p)}`;
  return p.total ? `${title(p)}: ${25 * Math.floor((4 * p.done) / p.total)} percent` : title(p);
};

function Item({ p }) {
  const [said, setSaid] = useState('');
  const stop = () => send('DELETE', `/api/v1/batches/${encodeURIComponent(p.of)}`).catch((e) => setSaid(e.message));
  return (
    <li>
      <span>{title(p)}</span>
      <progress role="progressbar" aria-label={title(p)} {...(p.total ? { max: p.total, value: Math.min(p.done, p.total) } : p.ended ? { max: 1, value: 1 } : {})} />
      <b>{far(p)}</b>{p.ended && ` ${outcome(p)}`}
      {p.what === 'hangup' && !p.ended && acts.value && <button type="button" onClick={stop}>Stop</button>}
      {said && <span class="failed" role="alert">{said}</span>}
    </li>
  );
}

export function Progress() {
  second.value;
  const list = [...progress.value.values()].filter((p) => !p.ended || now() - when(p.ended) < stays);
  return (
    <section class="progress" aria-label="Progress" hidden={!list.length}>
      <p class="hidden" aria-live="polite">{list.map(spoken).join('; ')}</p>
      {list.length > 0 && <ul>{list.map((p) => <Item key={p.id} p={p} />)}</ul>}
    </section>
  );
}
