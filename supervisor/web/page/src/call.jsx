// One call, opened: both legs beside each other, and what happened.

import { useEffect, useRef, useState } from 'preact/hooks';
import { get, now, send } from './api.js';
import { calls } from './calls.js';
import { Confirm } from './confirm.jsx';
import { age, moment, person, rtt, when } from './format.js';
import { Ladder } from './ladder.jsx';
import { acts, me, touched } from './live.js';
import { Badge, Strip } from './marks.jsx';
import { go } from './url.js';
import { second } from './view.js';

const settle = 250; // ms: what comes in one go is read once

// useCall reads a call and its events, and again when the stream tells of it. What
// happened in a call of another node is asked there, which may be out of reach.
function useCall(id) {
  const unknown = { call: null, events: [], missing: '', failed: '' };
  const [state, setState] = useState(unknown);
  useEffect(() => {
    const abort = new AbortController();
    let timer = 0;
    let told = null; // what its node has told last: the store may not know it yet
    const path = `/api/v1/calls/${encodeURIComponent(id)}`;
    const read = async () => {
      timer = 0;
      try {
        const call = await get(path, { signal: abort.signal });
        const here = call.node === me.value?.node;
        setState((was) => ({ ...was, call: here ? call : { ...call, ...told }, failed: '' }));
        const { events, missing = '' } = await get(`${path}/events`, { signal: abort.signal }).catch((e) => {
          if (abort.signal.aborted || here) throw e;
          return { events: [], missing: e.message };
        });
        setState({ call: here ? call : { ...call, ...told }, events, missing, failed: '' });
      } catch (e) {
        if (!abort.signal.aborted) setState((was) => ({ ...was, failed: e.message }));
      }
    };
    setState(unknown);
    read();
    const stop = touched.subscribe((j) => {
      if (j?.id !== id) return;
      told = j.state ? j : { ended: j.ended, ended_by: j.ended_by, end_text: j.end_text, state: 'terminated' };
      timer ||= setTimeout(read, settle);
    });
    return () => {
      stop();
      clearTimeout(timer);
      abort.abort();
    };
  }, [id]);
  return state;
}

const facts = [
  ['Far end', (l) => l.uri],
  ['Liveness', (l) => <><Badge kind={legKind(l)}>{l.liveness || '–'}</Badge>{l.misses > 0 && ` ${l.misses} missed`}</>],
  ['Lately', (l, strip) => <Strip strip={strip} />],
  ['Last evidence', (l) => (l.last_alive ? `${l.last_evidence}, ${age(now() - when(l.last_alive))} ago` : '–')],
  ['CSeq', (l) => <span class="cseq"><span title="sipvigil has used no higher number">ours <b>{l.local_cseq}</b></span> <span title="the last number of the far end">theirs <b>{l.remote_cseq}</b></span></span>],
  ['Round trip', (l) => (l.rtt_ms ? rtt(l.rtt_ms) : '–')],
  ['Asked with', (l) => l.method || '–'],
  ['Calibration', (l) => l.calibration || 'unknown'],
  ['Peer', (l) => `${l.transport} ${l.peer}`],
  ['Target', (l) => l.target],
  ['User-Agent', (l) => l.user_agent || '–'],
  ['Call-ID', (l) => <code>{l.call_id}</code>],
  ['Session timer', (l) => (l.session_expires ? `${l.session_expires} s, refreshed by ${l.refresher}` : '')],
  ['Held', (l) => l.held],
  ['Released', (l) => l.released],
];

const legKind = (l) => (l.held ? 'held' : { alive: 'live', reachable: 'live', suspect: 'suspect', silent: 'dead', gone: 'dead' }[l.liveness] || 'idle');

function Facts({ call }) {
  const known = calls.get(call.id);
  return (
    <table class="facts">
      <thead><tr><td /><th scope="col">Caller</th><th scope="col">Callee</th></tr></thead>
      <tbody>
        {facts.map(([label, show]) => {
          const [a, b] = [show(call.caller, known?.caller.strip), show(call.callee, known?.callee.strip)];
          return (a || b) && <tr key={label}><th scope="row">{label}</th><td>{a}</td><td>{b}</td></tr>;
        })}
      </tbody>
    </table>
  );
}

const said = (a) => {
  if (a.kind === 'answered') return `${a.status} to ${a.method} in ${rtt(a.rtt_ms)}`;
  return [a.kind === 'timeout' ? 'no answer' : a.kind, a.reason].filter(Boolean).join(': ');
};

// Probe asks both legs now, and says what they answered.
function Probe({ id }) {
  const [text, setText] = useState('');
  const [busy, setBusy] = useState(false);
  const probe = async () => {
    if (busy) return;
    setBusy(true);
    setText('asking both legs…');
    try {
      const a = await send('POST', `/api/v1/calls/${encodeURIComponent(id)}/probe`);
      setText(`caller ${said(a.caller)} · callee ${said(a.callee)}`);
    } catch (e) {
      setText(e.message);
    }
    setBusy(false);
  };
  return <><button type="button" onClick={probe} aria-disabled={busy}>Probe now</button><span class="said" role="status">{text}</span></>;
}

// Call is the panel of the call that is open.
export function Call({ id }) {
  const { call, events, missing, failed } = useCall(id);
  const [asking, setAsking] = useState(false);
  const title = useRef(null);
  useEffect(() => { title.current.focus({ preventScroll: true }); }, [id]);
  second.value;
  const close = () => {
    go({ call: '' });
    document.getElementById('table')?.focus();
  };
  useEffect(() => {
    const key = (e) => { if (e.key === 'Escape' && !document.querySelector('dialog[open]')) close(); };
    addEventListener('keydown', key);
    return () => removeEventListener('keydown', key);
  }, []);
  const who = call ? [person(call.caller.uri).who, person(call.callee.uri).who] : ['…', '…'];
  const over = call && (call.state === 'terminated' || call.state === 'ending');
  const hangup = async (reason) => {
    await send('DELETE', `/api/v1/calls/${encodeURIComponent(id)}?reason=${encodeURIComponent(reason)}`);
    return 'BYE is on its way on both legs.';
  };
  return (
    <aside class="call" aria-labelledby="call-title">
      <header>
        <h2 id="call-title" ref={title} tabIndex={-1}>{who[0]} <span aria-label="to">→</span> {who[1]}</h2>
        <button type="button" class="close" aria-label="close the call" onClick={close}>×</button>
      </header>
      {failed && <p class="failed" role="alert">{failed}</p>}
      {call && (
        <>
          <p class="summary">
            <Badge kind={over ? 'ended' : call.state === 'confirmed' ? legKind(worse(call)) : 'early'}>{over ? call.ended_by || call.state : call.state}</Badge>
            {call.answered ? ` ${age((when(call.ended) || now()) - when(call.answered))} since the answer` : ' not answered'}
            {' · '}{call.trunk_in || '–'} → {call.trunk_out || '–'} · {call.node} · started {moment(when(call.started))}
            {call.ended && <> · ended {moment(when(call.ended))} {call.end_text}</>}
          </p>
          <p class="id"><code>{call.id}</code></p>
          {!over && acts.value && (
            <p class="actions">
              <Probe id={id} />
              <button type="button" class="danger" onClick={() => setAsking(true)}>Hang up…</button>
            </p>
          )}
          <Facts call={call} />
          <h3>What happened</h3>
          {missing ? <p class="missing">{missing}</p> : <Ladder events={events} />}
        </>
      )}
      {asking && (
        <Confirm title={`Hang up ${who[0]} → ${who[1]}?`} action="Hang up" reason act={hangup} close={() => setAsking(false)}>
          <p>Both sides get BYE with <code>Reason: Q.850;cause=31</code>; the reason stands in the record of the call.</p>
        </Confirm>
      )}
    </aside>
  );
}

const rank = { held: 4, dead: 3, suspect: 2, idle: 1, live: 0 };
const worse = (call) => (rank[legKind(call.callee)] > rank[legKind(call.caller)] ? call.callee : call.caller);
