// Trunks: bars over the table, and a page of their own.

import { count, rtt } from './format.js';
import { trunks } from './live.js';
import { byTrunk } from './view.js';
import { filter, follow, href } from './url.js';
import { Badge } from './marks.jsx';

const none = { used: 0, suspect: 0, held: 0 };

// capacity is how many channels a trunk has in all, 0 for any number.
function capacity(t) {
  const c = t.usage?.capacity;
  return c ? c.total || (c.in && c.out ? c.in + c.out : 0) : 0;
}

// limits are the numbers of channels that were configured.
const limits = (c = {}) => [c.total && count(c.total), c.in && `${count(c.in)} in`, c.out && `${count(c.out)} out`].filter(Boolean).join(', ');

// merged joins what the server says of trunks with the calls that are known.
function merged() {
  const all = new Map();
  for (const t of trunks.value.values()) all.set(t.name, { ...t, capacity: capacity(t), ...(byTrunk.value.get(t.name) || none) });
  for (const t of byTrunk.value.values()) if (!all.has(t.name)) all.set(t.name, t);
  return [...all.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

const most = (list) => Math.max(...list.map((t) => t.used));

// Bar shows channels: used, suspect, held, and how many are free. Without a
// capacity it is as long as that of the busiest trunk.
function Bar({ t, busiest }) {
  const total = Math.max(t.capacity || busiest, t.used, 1);
  const part = (n) => `${(100 * n) / total}%`;
  return (
    <svg class="bar" aria-hidden="true" width="100%" height="6">
      <rect class="b-free" width="100%" height="6" />
      <rect class="b-used" width={part(t.used)} height="6" />
      <rect class="b-suspect" x={part(t.used - t.suspect - t.held)} width={part(t.suspect)} height="6" />
      <rect class="b-held" x={part(t.used - t.held)} width={part(t.held)} height="6" />
    </svg>
  );
}

export const words = (t) => [
  `${count(t.used)} used`,
  t.suspect ? `${count(t.suspect)} suspect` : '',
  t.held ? `${count(t.held)} held` : '',
  t.capacity ? `${count(Math.max(0, t.capacity - t.used))} free` : '',
].filter(Boolean).join(' · ');

// TrunkBars is the row of trunks; one that is chosen filters the table.
export function TrunkBars() {
  const list = merged();
  if (!list.length) return null;
  const busiest = most(list);
  const chosen = filter.value.trunk;
  return (
    <nav class="trunks" aria-label="Trunks">
      {list.map((t) => (
        <a key={t.name} class={`trunk ${isDown(t) ? 'down' : ''}`} href={href({ trunk: chosen === t.name ? '' : t.name, view: '' })} onClick={follow}
          aria-current={chosen === t.name ? 'true' : undefined}>
          <b>{t.name}</b>{isDown(t) && <em>{t.maintenance || 'down'}</em>}
          <span>{words(t)}</span>
          <Bar t={t} busiest={busiest} />
        </a>
      ))}
    </nav>
  );
}

const isDown = (t) => t.state === 'down' || !!t.maintenance;
const kinds = { up: 'live', partial: 'suspect', down: 'dead' };

// TrunkPage lists all that is known of each trunk.
export function TrunkPage() {
  const list = merged();
  const busiest = most(list);
  return (
    <section class="page" aria-labelledby="trunks-title">
      <h2 id="trunks-title">Trunks</h2>
      {list.length ? (
        <div class="scroll" tabIndex="0" role="group" aria-label="Table of trunks">
          <table class="plain">
            <thead><tr>
              <th scope="col">Trunk</th><th scope="col">State</th><th scope="col" class="n">Used</th><th scope="col" class="n">Suspect</th>
              <th scope="col" class="n">Held</th><th scope="col" class="n">Capacity</th><th scope="col" class="n">Free</th><th scope="col">Channels</th>
              <th scope="col" class="n">Reclaimed</th><th scope="col">Addresses</th>
            </tr></thead>
            <tbody>{list.map((t) => (
              <tr key={t.name}>
                <th scope="row"><a href={href({ view: '', trunk: t.name })} onClick={follow}>{t.name}</a></th>
                <td><Badge kind={t.maintenance ? 'suspect' : kinds[t.state]}>{t.maintenance || t.state || 'unwatched'}</Badge></td>
                <td class="n">{count(t.used)}</td><td class="n">{count(t.suspect)}</td><td class="n">{count(t.held)}</td>
                <td class="n">{limits(t.usage?.capacity) || 'no limit'}</td>
                <td class="n">{t.capacity ? count(Math.max(0, t.capacity - t.used)) : '–'}</td>
                <td class="wide"><Bar t={t} busiest={busiest} /></td>
                <td class="n">{count(t.usage?.reclaimed)}</td>
                <td>{(t.addresses || []).map((a) => (
                  <div key={a.target + a.address}><Badge kind={kinds[a.state]}>{a.state}</Badge> <code>{a.transport} {a.address || a.target}</code>
                    {' '}<span class="quiet">{a.rtt_ms > 0 && rtt(a.rtt_ms)} {a.last}</span></div>
                ))}</td>
              </tr>
            ))}</tbody>
          </table>
        </div>
      ) : <p class="quiet">No trunk is configured, and no call uses one.</p>}
    </section>
  );
}
