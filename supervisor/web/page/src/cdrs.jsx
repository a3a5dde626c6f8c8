// The records of calls that ended.

import { useEffect, useState } from 'preact/hooks';
import { get } from './api.js';
import { age, moment, person, when } from './format.js';
import { Badge } from './marks.jsx';
import { go, url } from './url.js';

const fields = ['number', 'trunk', 'ended_by'];
const reasons = ['caller-bye', 'callee-bye', 'caller-gone', 'callee-gone', 'caller-silent', 'callee-silent', 'operator', 'no-ack',
  'session-expired', 'max-duration', 'caller-cancel', 'callee-rejected', 'no-answer', 'unreachable', 'congested'];
const dead = /-(gone|silent)$|^(session-expired|no-ack)$/;

// useRecords reads the first page of what is asked for, and further ones on demand.
function useRecords(query) {
  const [state, setState] = useState({ list: [], next: '', failed: '', busy: true });
  const read = (cursor, before, abort) => {
    const q = new URLSearchParams(query);
    q.set('limit', '100');
    if (cursor) q.set('cursor', cursor);
    setState((was) => ({ ...was, busy: true }));
    get(`/api/v1/cdrs?${q}`, { signal: abort }).then(
      (j) => setState({ list: [...before, ...j.cdrs], next: j.next || '', failed: '', busy: false }),
      (e) => { if (!abort?.aborted) setState({ list: before, next: '', failed: e.message, busy: false }); },
    );
  };
  useEffect(() => {
    const abort = new AbortController();
    const timer = setTimeout(read, 150, '', [], abort.signal); // the time between two letters
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [query]);
  return { ...state, more: () => read(state.next, state.list) };
}

export function RecordPage() {
  const asked = new URLSearchParams();
  for (const f of fields) if (url.value.get(f)) asked.set(f, url.value.get(f));
  const { list, next, failed, busy, more } = useRecords(asked.toString());
  const set = (e) => go({ [e.currentTarget.name]: e.currentTarget.value.trim() }, { replace: true });
  return (
    <section class="page" aria-labelledby="cdrs-title">
      <h2 id="cdrs-title">Records of ended calls</h2>
      <form class="filters" role="search" aria-label="Records" onSubmit={(e) => e.preventDefault()}>
        <label class="choice number"><span>Number</span>
          <input type="search" name="number" value={url.value.get('number') || ''} placeholder="number or Call-ID" onInput={set} autocomplete="off" />
        </label>
        <label class="choice"><span>Trunk</span><input name="trunk" value={url.value.get('trunk') || ''} onInput={set} autocomplete="off" /></label>
        <label class="choice"><span>Ended by</span>
          <select name="ended_by" value={url.value.get('ended_by') || ''} onChange={set}>
            <option value="">anything</option>
            {reasons.map((r) => <option key={r} value={r}>{r}</option>)}
          </select>
        </label>
        <p class="tally" role="status"><b>{list.length}{next && '+'}</b> {list.length === 1 && !next ? 'record' : 'records'}{busy && ', reading…'}</p>
      </form>
      {failed && <p class="failed" role="alert">{failed}</p>}
      <div class="scroll" tabIndex="0" role="group" aria-label="Table of records">
        <table class="plain">
          <thead><tr>
            <th scope="col">Ended</th><th scope="col">By</th><th scope="col">From</th><th scope="col">To</th><th scope="col">Trunks</th>
            <th scope="col" class="n">Billed</th><th scope="col" class="n">Proven</th><th scope="col">Released</th><th scope="col">Node</th>
          </tr></thead>
          <tbody>{list.map((r) => (
            <tr key={r.id}>
              <td>{moment(when(r.ended))}</td>
              <td><Badge kind={dead.test(r.ended_by) ? 'dead' : 'ended'}>{r.ended_by}</Badge></td>
              <td title={r.caller.uri}>{person(r.caller.uri).who}</td><td title={r.callee.uri}>{person(r.callee.uri).who}</td>
              <td>{r.trunk_in || '–'} → {r.trunk_out || '–'}</td>
              <td class="n">{age(r.billed_seconds * 1000)}</td><td class="n">{age(r.proven_seconds * 1000)}</td>
              <td class="quiet">{r.caller.released || '–'} / {r.callee.released || '–'}</td>
              <td>{r.node}</td>
            </tr>
          ))}</tbody>
        </table>
      </div>
      {!busy && !failed && !list.length && <p class="quiet">No record is like that.</p>}
      {next && <p><button type="button" onClick={more} disabled={busy}>More</button></p>}
    </section>
  );
}
