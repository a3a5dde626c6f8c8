// What happened inside a call, as a ladder: the caller at the left, sipvigil in
// the middle, the callee at the right.

import { clock, rtt } from './format.js';

// Arrow is one message in a lane. It points to the right or to the left; lost
// ones do not arrive.
function Arrow({ right, kind, label, note }) {
  return (
    <span class={`arrow ${right ? 'right' : 'left'} a-${kind}`}>
      <span class="label">{label}{note && <small> {note}</small>}</span>
    </span>
  );
}

const method = (text) => /[A-Z]{3,}$/.exec(text)?.[0] || 'OPTIONS';
const refusal = /^(481|404|410|416|482|484|485|502|604)\b/;

// lane is what an event looks like on its side.
function lane(e) {
  const out = e.leg === 'callee'; // away from sipvigil is to the right
  switch (e.kind) {
    case 'answer': {
      const kind = refusal.test(e.text) ? 'bad' : 'good';
      return [<Arrow right={out} kind="ask" label={method(e.text)} />, <Arrow right={!out} kind={kind} label={e.text.replace(/ [A-Z]+$/, '')} note={e.rtt_ms ? rtt(e.rtt_ms) : '<1 ms'} />];
    }
    case 'miss':
      return [<Arrow right={out} kind="lost" label={method(e.text)} note={e.text} />];
    case 'evidence':
      return [<Arrow right={!out} kind="good" label={e.text} />];
    case 'calibration':
      return [<span class="note">calibrated: {e.text}</span>];
    case 'disturbed':
      return [<span class="note n-suspect">disturbed: {e.text}</span>];
    case 'held':
    case 'observed':
      return [<span class="note n-held">{e.kind}: {e.text}</span>];
    case 'verdict':
      return [<span class="note n-dead">verdict: {e.text}</span>];
    default:
      return [<span class="note">{e.kind} {e.text}</span>];
  }
}

const both = { confirm: () => 'call confirmed, watched from now on', end: (e) => `ended: ${e.text}` };

export function Ladder({ events }) {
  if (!events.length) return <p class="quiet">Nothing has happened inside this call yet.</p>;
  return (
    <div class="ladder">
      <p class="posts" aria-hidden="true"><span>caller</span><span>sipvigil</span><span>callee</span></p>
      <ol aria-label="What happened inside the call, the oldest first">
        {events.map((e, i) => (
          <li key={`${e.at}${i}`} class={`step e-${e.kind}`}>
            <time dateTime={e.at}>{clock(Date.parse(e.at))}</time>
            {both[e.kind] ? <span class="across">{both[e.kind](e)}</span> : (
              <span class={`lanes on-${e.leg}`}>
                <span class="hidden">{e.leg}: {e.kind}, </span>
                <span class="lane">{e.leg === 'caller' && lane(e)}</span>
                <span class="lane">{e.leg === 'callee' && lane(e)}</span>
              </span>
            )}
          </li>
        ))}
      </ol>
    </div>
  );
}
