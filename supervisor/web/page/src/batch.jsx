// Several calls hung up at once: first a dry run that says what would happen,
// then a paced batch, which can be watched and stopped.

import { useEffect, useState } from 'preact/hooks';
import { send } from './api.js';
import { Confirm } from './confirm.jsx';
import { count, person, plural } from './format.js';
import { batches } from './live.js';
import { picked } from './view.js';

const path = '/api/v1/calls/hangup';
const named = 5; // calls of the dry run

export function Batch({ close }) {
  const [ids] = useState(() => [...picked.value]);
  const [plan, setPlan] = useState(null);
  const [failed, setFailed] = useState('');
  const [running, setRunning] = useState(null);
  useEffect(() => {
    send('POST', path, { ids, dry_run: true }).then(setPlan, (e) => setFailed(e.message));
  }, []);
  const act = async (reason) => {
    setRunning(await send('POST', path, { ids, reason }));
    picked.value = new Set();
    return 'The batch is under way; it goes on when this is closed.';
  };
  const batch = running && (batches.value.get(running.id) || running);
  return (
    <Confirm title={`Hang up ${plural(ids.length, 'marked call')}?`} action={`Hang up ${plural(ids.length, 'call')}`} reason
      ready={plan !== null} act={act} close={close}>
      {failed && <p class="failed" role="alert">{failed}</p>}
      {batch ? <Progress batch={batch} /> : <Plan plan={plan} />}
    </Confirm>
  );
}

// Plan is what the dry run says: nothing was sent for it.
function Plan({ plan }) {
  if (!plan) return <p role="status">Trying without sending anything…</p>;
  return (
    <div class="plan" role="status">
      <p>{plural(plan.total, 'call')} would get BYE on both legs, ten a second:</p>
      <ul>
        {plan.calls.slice(0, named).map((c) => (
          <li key={c.id}>{person(c.caller.uri).who} → {person(c.callee.uri).who} <span class="quiet">{c.state} {c.liveness}</span></li>
        ))}
        {plan.total > named && <li class="quiet">and {count(plan.total - named)} more</li>}
      </ul>
    </div>
  );
}

function Progress({ batch }) {
  const done = batch.ended + batch.gone + batch.failed;
  return (
    <div class="plan">
      <progress max={batch.total} value={done} aria-label="calls that were seen to" />
      <p role="status">{`${count(done)} of ${plural(batch.total, 'call')}: ${count(batch.ended)} got BYE`}
        {batch.gone > 0 && `, ${count(batch.gone)} had ended`}{batch.failed > 0 && `, ${count(batch.failed)} failed`}
        {batch.state !== 'running' && ` · ${batch.state}`}</p>
      {batch.failures.length > 0 && <p class="failed">{batch.failures[0].detail}</p>}
      {batch.state === 'running' && <button type="button" onClick={() => send('DELETE', `/api/v1/batches/${batch.id}`)}>Stop</button>}
    </div>
  );
}
