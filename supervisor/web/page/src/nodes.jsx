// The nodes that share the store.

import { now } from './api.js';
import { age, count, moment, when } from './format.js';
import { nodes } from './live.js';
import { Badge } from './marks.jsx';
import { follow, href } from './url.js';
import { second } from './view.js';

const kinds = { up: 'live', draining: 'suspect', left: 'idle', dead: 'dead' };

export function NodePage() {
  second.value;
  const list = nodes.value;
  return (
    <section class="page" aria-labelledby="nodes-title">
      <h2 id="nodes-title">Nodes</h2>
      <div class="scroll" tabIndex="0" role="group" aria-label="Table of nodes">
        <table class="plain">
          <thead><tr>
            <th scope="col">Node</th><th scope="col">State</th><th scope="col" class="n">Calls</th><th scope="col" class="n">Epoch</th>
            <th scope="col">Up since</th><th scope="col">Address</th>
          </tr></thead>
          <tbody>{list.map((n) => (
            <tr key={n.name}>
              <th scope="row"><a href={href({ view: '', node: n.name })} onClick={follow}>{n.name}</a></th>
              <td><Badge kind={kinds[n.state]}>{n.state}</Badge>{n.maintenance && <> <Badge kind="suspect">{n.maintenance}</Badge></>}</td>
              <td class="n">{count(n.calls)}</td><td class="n">{n.epoch}</td>
              <td>{n.since ? `${moment(when(n.since))}, for ${age(now() - when(n.since))}` : '–'}</td>
              <td><code>{n.addr}</code></td>
            </tr>
          ))}</tbody>
        </table>
      </div>
      {!list.length && <p class="quiet">The nodes cannot be read now.</p>}
    </section>
  );
}
