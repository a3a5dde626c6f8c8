// The head of the page: how everything fares, on one line.

import { computed } from '@preact/signals';
import { useState } from 'preact/hooks';
import { count, plural, rate } from './format.js';
import { acts, link, me, overview, reading } from './live.js';
import { Confirm } from './confirm.jsx';
import { send } from './api.js';
import { follow, go, href, view } from './url.js';
import { second } from './view.js';

const views = [['calls', 'Calls'], ['trunks', 'Trunks'], ['nodes', 'Nodes'], ['cdrs', 'Records']];

function Figure({ label, value, kind = '', to, title }) {
  return (
    <div class={`figure ${kind}`} title={title}>
      <dt>{label}</dt>
      <dd>{to ? <a href={to} onClick={follow}>{value}</a> : value}</dd>
    </div>
  );
}

// whole is the overview with what the other nodes have added to it.
const whole = computed(() => {
  const o = overview.value;
  if (!o) return null;
  const sum = { ...o };
  for (const other of o.others) for (const name of sums) sum[name] += other[name];
  return sum;
});
const sums = ['active', 'calls_per_second', 'live', 'suspect', 'held', 'reclaimed_today'];

// The figures link to the calls that they count.
export function Head() {
  const o = whole.value;
  const show = (liveness) => href({ view: '', call: '', state: '', number: '', trunk: '', node: '', older: '', liveness });
  const store = o?.store;
  return (
    <header class="head">
      <a class="brand" href="/" onClick={follow} aria-label="sipvigil, all calls">
        <img src="/icon.svg" alt="" width="22" height="22" />
        <h1>sipvigil</h1>
      </a>
      <dl class="figures">
        <Figure label="active" value={count(o?.active)} to={show('')} />
        <Figure label="calls/s" value={rate(o?.calls_per_second)} />
        <Figure label="live" value={count(o?.live)} kind="live" to={show('live')} />
        <Figure label="suspect" value={count(o?.suspect)} kind={o?.suspect ? 'suspect' : ''} to={show('dying')} />
        <Figure label="held" value={count(o?.held)} kind={o?.held ? 'held' : ''} to={show('held')} />
        <Figure label="reclaimed today" value={count(o?.reclaimed_today)} title="Channels of trunks that were given back because a far end was found dead, since midnight UTC" />
        <Figure label="nodes" value={nodesText(o?.nodes)} kind={o?.nodes?.dead ? 'suspect' : ''} to={href({ view: 'nodes', call: '' })} />
        <Figure label={`store ${store?.backend || ''}`} value={storeText(store)} kind={store && store.state !== 'ok' ? 'dead' : ''} title={store?.error} />
      </dl>
      <nav aria-label="Views">
        {views.map(([name, label]) => (
          <a key={name} href={href({ view: name === 'calls' ? '' : name, call: '' })} onClick={follow}
            aria-current={view.value === name ? 'page' : undefined}>{label}</a>
        ))}
      </nav>
      <Link />
    </header>
  );
}

const nodesText = (n) => (n ? (n.dead + n.draining ? `${n.up}/${n.up + n.draining + n.dead}` : count(n.up)) : '–');
const storeText = (s) => (s ? (s.pending && s.state !== 'ok' ? `${s.state}, ${count(s.pending)} to write` : s.state) : '–');

const linkTexts = { live: 'live', connecting: 'connecting…', lost: 'connection lost, trying again' };

// Link says whether what is shown is true now.
function Link() {
  const text = link.value === 'live' && reading.value ? 'reading calls…' : linkTexts[link.value];
  return <p class={`link l-${link.value}`} role="status"><i class="dot" aria-hidden="true" />{text}</p>;
}

const reasons = {
  stall: (b) => b.text || 'this process was stalled or cannot send',
  peer: (b) => `${b.ill} of ${b.legs} legs behind ${b.trunk && b.trunk !== '_other' ? b.trunk : b.peer || b.trunk} do not answer`,
  trunk: (b) => `${b.trunk || 'a trunk'} itself does not answer`,
  rate: () => 'silence would end too many calls in a minute',
};

// Each silent call is held for a moment before it ends: the brake is worth a
// banner when that lasts.
const moment = 3000; // ms
let heldSince = 0;

// Brake stands there while calls are held, on whichever node, and no longer.
export function Brake() {
  const [asking, setAsking] = useState(false);
  const o = overview.value;
  const brakes = o?.brake || [];
  const others = o?.others.filter((n) => n.held) || [];
  if (!o?.held && !others.length) heldSince = 0;
  else heldSince ||= second.value;
  const lasts = heldSince && second.value - heldSince > moment;
  if (!o || (!lasts && !brakes.length && !o.idle && !asking)) return null;
  const why = brakes.map((b) => (reasons[b.reason] || ((x) => x.reason))(b)).join('; ') || o.idle || (o.held ? 'silent, but let go on' : '');
  return (
    <section class="brake" role="alert" aria-label="Brake">
      <p>
        <strong>{whole.value.held ? `${plural(whole.value.held, 'call')} held` : o.idle ? 'Calls are not watched' : 'Brake on'}</strong>
        {' '}{[why, ...others.map((n) => `${count(n.held)} on ${n.node}`)].filter(Boolean).join('; ')}
      </p>
      {whole.value.held > 0 && <button type="button" onClick={() => go({ view: '', call: '', state: '', number: '', trunk: '', node: '', older: '', liveness: 'held' })}>View</button>}
      {whole.value.held > 0 && acts.value && <button type="button" class="danger" onClick={() => setAsking(true)}>Release…</button>}
      {asking && (
        <Confirm title={`End ${plural(whole.value.held, 'held call')}?`} action="End them" close={() => setAsking(false)}
          act={async () => {
            const { calls, nodes = [], partial } = await send('POST', '/api/v1/brake/release');
            const failed = nodes.filter((n) => n.failed).map((n) => n.failed);
            if (partial) failed.push('The store cannot be reached: calls of other nodes are left alone.');
            if (failed.length) throw new Error([`${plural(calls, 'call')} will end.`, ...failed].join(' '));
            return `${plural(calls, 'call')} will end, one after the other.`;
          }}>
          {others.length > 0 && <p>{[...(o.held ? [{ node: me.value?.node, held: o.held }] : []), ...others].map((n) => `${count(n.held)} on ${n.node}`).join(', ')}.</p>}
          <p>These calls have a silent leg, and the brake keeps them up because many fell silent together. Released, each ends
            with BYE on both sides unless it answers meanwhile.</p>
        </Confirm>
      )}
    </section>
  );
}
