// The table of calls. Only the rows that can be seen are there.

import { signal } from '@preact/signals';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { now } from './api.js';
import { changed, held, liveness, trouble } from './calls.js';
import { columns } from './columns.js';
import { age, person } from './format.js';
import { Dot, Strip } from './marks.jsx';
import { acts, partial, reading } from './live.js';
import { go, opened, sort } from './url.js';
import { picked, second, shown } from './view.js';

const narrow = matchMedia('(max-width: 46rem)');
const isNarrow = signal(narrow.matches);
narrow.addEventListener('change', () => { isNarrow.value = narrow.matches; });
const rowHeight = () => (isNarrow.value ? 68 : 28);
const beyond = 6; // rows that are there above and below what is seen

const kinds = { alive: 'live', reachable: 'live', suspect: 'suspect', silent: 'dead', gone: 'dead', unsupported: 'idle', unproven: 'idle' };

// mark is what a call is called in the first column, and its colour.
export function mark(c) {
  if (c.endedBy) return [c.endedBy, /-(gone|silent)$/.test(c.endedBy) ? 'dead' : 'ended'];
  if (c.state !== 'confirmed') return [c.state, c.state === 'ending' ? 'ended' : 'early'];
  if (held(c)) return ['held', 'held'];
  const l = liveness(c);
  return [l || 'confirmed', kinds[l] || 'idle'];
}

const Person = ({ addr }) => {
  const p = person(addr);
  return <span class="person" title={addr}>{p.who || '–'}{p.name && <small> {p.name}</small>}</span>;
};

function LegCell({ leg, name }) {
  const odd = leg.liveness && leg.liveness !== 'alive';
  return (
    <span class="leg"><span class="narrow-only who">{name}</span><Strip strip={leg.strip} />
      {odd && <small class={`k-${leg.held ? 'held' : kinds[leg.liveness]}`}>{leg.liveness}{leg.misses > 0 && ` ${leg.misses}✕`}</small>}
    </span>
  );
}

// evidence names the older of the last signs of life: until then the call is proven.
function evidence(c, t) {
  const legs = [['caller', c.caller], ['callee', c.callee]].filter(([, l]) => l.alive);
  if (!legs.length) return '–';
  legs.sort(([, a], [, b]) => a.alive - b.alive);
  const [side, l] = legs[0];
  return `${age((c.ended || t) - l.alive)} · ${side} ${l.evidence}`;
}

const trunksOf = (c) => (c.trunkIn || c.trunkOut ? `${c.trunkIn || '–'} → ${c.trunkOut || '–'}` : '–');

const cells = {
  state: (c) => { const [word, kind] = mark(c); return <><Dot kind={kind} /><span class={`k-${kind}`}>{word}</span></>; },
  from: (c) => <Person addr={c.from} />,
  to: (c) => <Person addr={c.to} />,
  trunks: (c) => trunksOf(c),
  age: (c, t) => age((c.ended || t) - c.started),
  caller: (c) => <LegCell leg={c.caller} name="caller" />,
  callee: (c) => <LegCell leg={c.callee} name="callee" />,
  evidence: (c, t) => evidence(c, t),
  node: (c) => c.node,
};

function Row({ c, i, t, height, active, open, marked, pick }) {
  const bad = trouble(c);
  return (
    <div role="row" id={`row-${c.id}`} data-id={c.id} aria-rowindex={i + 2} aria-selected={marked} style={{ top: `${i * height}px` }}
      class={`row${active ? ' active' : ''}${open ? ' open' : ''}${c.endedBy ? ' over' : ''}${bad >= 3 ? ' bad' : ''}`}>
      <span role="gridcell" class="c-mark">
        {acts.value && <input type="checkbox" tabIndex={-1} checked={marked} aria-label={`mark call ${person(c.from).who} to ${person(c.to).who}`}
          onClick={(e) => { e.stopPropagation(); pick(i, e.shiftKey); }} />}
      </span>
      {columns.map(({ name }) => <span key={name} role="gridcell" class={`c-${name}`}>{cells[name](c, t)}</span>)}
    </div>
  );
}

function Heads({ list }) {
  const [name, turned] = [sort.value.replace(/^-/, ''), sort.value.startsWith('-')];
  const all = list.length > 0 && picked.value.size >= list.length;
  return (
    <div role="rowgroup" class="heads">
      <div role="row" aria-rowindex={1} class="headrow">
        <span role="columnheader" class="c-mark">
          {!acts.value && <span class="hidden">mark</span>}
          {acts.value && <input type="checkbox" checked={all} aria-label="mark all calls shown" disabled={!list.length}
            onClick={() => { picked.value = all ? new Set() : new Set(list.filter((c) => !c.endedBy).map((c) => c.id)); }} />}
        </span>
        {columns.map((c) => (
          <span key={c.name} role="columnheader" class={`c-${c.name}`} aria-sort={name === c.sort ? (turned ? 'descending' : 'ascending') : 'none'}>
            <button type="button" onClick={() => go({ sort: next(c.sort) })}>{c.label}<i aria-hidden="true">{name === c.sort ? (turned ? '▾' : '▴') : ''}</i></button>
          </span>
        ))}
      </div>
    </div>
  );
}

const next = (name) => {
  const to = sort.value === name ? `-${name}` : name;
  return to === 'trouble' ? '' : to;
};

// toggled marks a call or takes its mark away; with a range all from the last one on.
function toggled(list, i, from) {
  const set = new Set(picked.value);
  const add = !set.has(list[i].id);
  const [a, b] = from === null ? [i, i] : [Math.min(i, from), Math.max(i, from)];
  for (let k = a; k <= b; k++) {
    if (add && !list[k].endedBy) set.add(list[k].id);
    else set.delete(list[k].id);
  }
  picked.value = set;
}

export function Table() {
  const box = useRef(null);
  const [top, setTop] = useState(0);
  const [room, setRoom] = useState(600);
  const [cursor, setCursor] = useState('');
  const anchor = useRef(null);
  const { list } = shown.value;
  changed.value; // what a row shows may be another
  second.value;
  const t = now();
  const height = rowHeight();

  useLayoutEffect(() => {
    const seen = new ResizeObserver(() => setRoom(box.current.clientHeight));
    seen.observe(box.current);
    return () => seen.disconnect();
  }, []);
  useEffect(() => { box.current.scrollTop = 0; }, [sort.value]);

  const first = Math.max(0, Math.floor(top / height) - beyond);
  const last = Math.min(list.length, Math.ceil((top + room) / height) + beyond);
  const at = list.findIndex((c) => c.id === cursor);
  const pick = (i, range) => { toggled(list, i, range ? anchor.current : null); anchor.current = i; };

  const move = (i) => {
    if (!list.length) return;
    const to = Math.max(0, Math.min(list.length - 1, i));
    setCursor(list[to].id);
    const y = to * height;
    const head = isNarrow.value ? 0 : 28;
    if (y < box.current.scrollTop) box.current.scrollTop = y;
    else if (y + height + head > box.current.scrollTop + room) box.current.scrollTop = y + height + head - room;
  };
  const onKeyDown = (e) => {
    if (e.target !== box.current) return;
    const page = Math.max(1, Math.floor(room / height) - 2);
    const keys = {
      ArrowDown: () => move(at + 1), ArrowUp: () => move(at - 1), PageDown: () => move(at + page), PageUp: () => move(at - page),
      Home: () => move(0), End: () => move(list.length - 1),
      Enter: () => at >= 0 && go({ call: list[at].id }), ' ': () => at >= 0 && acts.value && pick(at, e.shiftKey),
    };
    if (!keys[e.key]) return;
    e.preventDefault();
    keys[e.key]();
  };
  const onClick = (e) => {
    const row = e.target.closest('.row');
    if (!row || getSelection().toString()) return;
    setCursor(row.dataset.id);
    go({ call: row.dataset.id });
  };

  const rows = [];
  for (let i = first; i < last; i++) {
    const c = list[i];
    rows.push(<Row key={c.id} c={c} i={i} t={t} height={height} active={c.id === cursor} open={c.id === opened.value}
      marked={picked.value.has(c.id)} pick={pick} />);
  }
  return (
    <div class="table" id="table" ref={box} role="grid" aria-label="Calls" aria-rowcount={list.length + 1} aria-multiselectable="true" tabIndex={0}
      aria-activedescendant={at >= first && at < last ? `row-${cursor}` : undefined} aria-describedby="keys"
      onScroll={(e) => setTop(e.currentTarget.scrollTop)} onKeyDown={onKeyDown} onClick={onClick}>
      <Heads list={list} />
      <div role="rowgroup" class="rows" style={{ height: `${list.length * height}px` }}>{rows}</div>
      {!list.length && <div class="empty">{empty()}</div>}
      <span id="keys" hidden>Arrow keys move, Enter opens a call, Space marks it, slash goes to the number.</span>
    </div>
  );
}

function empty() {
  if (reading.value) return 'Reading calls…';
  if (shown.value.total) return 'No call is like that.';
  return partial.value ? 'No calls here; those of other nodes cannot be read now.' : 'No calls now.';
}
