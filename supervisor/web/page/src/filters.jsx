// What the table is narrowed to.

import { useRef, useEffect } from 'preact/hooks';
import { count } from './format.js';
import { filter, go, sort, url } from './url.js';
import { byTrunk, nodesOf, picked, shown } from './view.js';
import { ages, filtered } from './filter.js';
import { columns } from './columns.js';
import { acts, trunks } from './live.js';

const states = ['trying', 'early', 'confirmed', 'ending', 'ended'];
const lives = [['dying', 'in doubt'], ['held', 'held'], ['live', 'live'], 'alive', 'reachable', 'suspect', 'silent', 'gone', 'unsupported', 'unproven'];

function Choice({ name, label, all, options }) {
  const value = filter.value[name];
  const list = options.map((o) => (Array.isArray(o) ? o : [o, o]));
  if (value && !list.some(([v]) => v === value)) list.push([value, value]);
  return (
    <label class={value ? 'choice on' : 'choice'}><span>{label}</span>
      <select name={name} value={value} onChange={(e) => go({ [name]: e.currentTarget.value })}>
        <option value="">{all}</option>
        {list.map(([v, text]) => <option key={v} value={v}>{text}</option>)}
      </select>
    </label>
  );
}

const trunkNames = () => [...new Set([...trunks.value.keys(), ...byTrunk.value.keys()])].sort();

export function Filters({ hangup }) {
  const number = useRef(null);
  useEffect(() => {
    const key = (e) => {
      if (e.key !== '/' || e.ctrlKey || e.metaKey || /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName)) return;
      e.preventDefault();
      number.current.focus();
    };
    addEventListener('keydown', key);
    return () => removeEventListener('keydown', key);
  }, []);
  const { ongoing, total } = shown.value;
  const any = filtered(filter.value);
  const marked = picked.value.size;
  return (
    <form class="filters" role="search" aria-label="Calls" onSubmit={(e) => e.preventDefault()}>
      <label class="choice number"><span>Number</span>
        <input ref={number} type="search" name="number" value={filter.value.number} placeholder="number or part of it" autocomplete="off"
          spellcheck={false} aria-keyshortcuts="/" onInput={(e) => go({ number: e.currentTarget.value.trim() }, { replace: true })} />
      </label>
      <Choice name="trunk" label="Trunk" all="any" options={trunkNames()} />
      <Choice name="state" label="State" all="ongoing" options={states.map((s) => [s, s === 'ended' ? 'ended lately' : s])} />
      <Choice name="liveness" label="Liveness" all="any" options={lives} />
      <Choice name="node" label="Node" all="any" options={nodesOf.value} />
      <Choice name="older" label="Older than" all="any age" options={Object.keys(ages)} />
      <label class="choice narrow-only"><span>Sort</span>
        <select name="sort" value={sort.value} onChange={(e) => go({ sort: e.currentTarget.value })}>
          <option value="trouble">in doubt first</option>
          {columns.filter((c) => c.sort && c.sort !== 'trouble').map((c) => <option key={c.sort} value={c.sort}>{c.label.toLowerCase()}</option>)}
        </select>
      </label>
      {any && <button type="button" class="plain-button" onClick={() => go({ number: '', trunk: '', state: '', liveness: '', node: '', older: '' })}>Clear</button>}
      <p class="tally" role="status"><b>{count(ongoing)}</b>{any ? ` of ${count(total)}` : ''} {url.value.get('state') === 'ended' ? 'ended' : 'calls'}</p>
      {marked > 0 && (
        <p class="marked">
          <b>{count(marked)}</b> marked
          <button type="button" class="plain-button" onClick={() => { picked.value = new Set(); }}>Unmark</button>
          {acts.value && <button type="button" class="danger" onClick={hangup}>Hang up…</button>}
        </p>
      )}
    </form>
  );
}
