// The operator's page: asks the API once a second and shows what it says.
// Everything in a call was said by a stranger, so it is set as text only.

const period = 1000;
const limits = { asked: 500, shown: 200, ended: 25 };

const byId = (id) => document.getElementById(id);
const live = byId('live').tBodies[0];
const ended = byId('ended').tBodies[0];

let skew = 0; // what the server's clock is ahead of ours, in ms

async function ask(path) {
  const r = await fetch(path, { cache: 'no-store', signal: AbortSignal.timeout(8000) });
  const date = Date.parse(r.headers.get('Date'));
  if (Math.abs(date - Date.now()) > 2000) skew = date - Date.now();
  else skew = 0;
  const body = await r.json();
  if (!r.ok && r.status !== 503) throw new Error(body.detail || r.statusText);
  return body;
}

// refresh shows everything anew, or that nothing came.
async function refresh() {
  try {
    const [health, calls] = await Promise.all([
      ask('/readyz'),
      ask(`/api/v1/calls?limit=${limits.asked}`),
      readEnded(),
    ]);
    if (!calls.calls) throw new Error(calls.detail);
    showHealth(health, calls.partial);
    showCounts(calls);
    showLive(calls);
    showEnded();
    document.querySelector('main').classList.remove('stale');
  } catch (e) {
    say(`sipvigil does not answer (${e.message}). What is shown is how it was.`, true);
    document.querySelector('main').classList.add('stale');
  }
}

// Lists come oldest first, so those that ended are read page by page, one a
// turn and round again, and the latest are kept.
const past = { cursor: '', calls: new Map(), seen: new Set() };

async function readEnded() {
  const cursor = past.cursor && `&cursor=${encodeURIComponent(past.cursor)}`;
  const page = await ask(`/api/v1/calls?state=terminated&limit=${limits.asked}${cursor}`);
  if (!page.calls) throw new Error(page.detail);
  for (const c of page.calls) {
    past.calls.set(c.id, c);
    past.seen.add(c.id);
  }
  past.cursor = page.next || '';
  if (!past.cursor) { // once round: forget what the store has forgotten
    for (const id of past.calls.keys()) if (!past.seen.has(id)) past.calls.delete(id);
    past.seen.clear();
  }
  past.calls = new Map(latest().map((c) => [c.id, c]));
}

const latest = () => [...past.calls.values()]
  .sort((a, b) => (b.ended || '').localeCompare(a.ended || ''))
  .slice(0, limits.ended);

function showHealth(h, partial) {
  const texts = [];
  if (!h.ready) texts.push(`Takes no new calls: ${(h.reasons || []).join(', ')}.`);
  if (h.store !== 'ok') {
    texts.push(`Store ${h.store_backend} cannot be reached since ${clock(h.store_since)}; ` +
      `calls go on, ${h.store_pending} waiting to be written.`);
  } else {
    texts.push(`Store ${h.store_backend} is in reach.`);
  }
  if (partial) texts.push('Only the calls of this node are shown.');
  say(texts.join(' '), !h.ready || h.store !== 'ok');
}

// say changes the text that screen readers announce, only when it is another.
function say(message, trouble) {
  put(byId('health'), message, trouble ? 'trouble' : '');
}

function showCounts(list) {
  const n = { alive: 0, suspect: 0, dead: 0 };
  for (const c of list.calls) {
    if (c.liveness === 'alive') n.alive++;
    else if (c.liveness === 'suspect') n.suspect++;
    else if (c.liveness === 'gone' || c.liveness === 'silent') n.dead++;
  }
  const more = list.next ? '+' : '';
  put(byId('count-all'), list.calls.length + more);
  for (const [name, count] of Object.entries(n)) {
    const dd = byId(`count-${name}`);
    put(dd, count + more);
    dd.parentElement.classList.toggle('some', count > 0);
  }
  const bad = n.suspect + n.dead;
  document.title = bad ? `(${bad}) sipvigil` : 'sipvigil';
}

const badness = { gone: 5, silent: 4, suspect: 3 };
const rank = (c) => badness[c.liveness] || 0;

function showLive(list) {
  const calls = [...list.calls].sort((a, b) => rank(b) - rank(a)).slice(0, limits.shown);
  fill(live, calls, (row, c) => {
    badge(row, 0, 'State', c.state, c.ended_by);
    text(row, 1, 'Age', since(c.started), 'number');
    person(row, 2, 'From', c.caller.uri);
    person(row, 3, 'To', c.callee.uri);
    badge(row, 4, 'Caller', c.caller.liveness, missed(c.caller));
    badge(row, 5, 'Callee', c.callee.liveness, missed(c.callee));
    text(row, 6, 'Trunks', trunks(c));
    text(row, 7, 'Last evidence', evidence(c));
    text(row, 8, 'Node', c.node);
  });
  let note = 'No calls now.';
  if (calls.length) note = 'Those in doubt first, then oldest first.';
  if (list.next || calls.length < list.calls.length) {
    note = `${calls.length} of ${list.calls.length}${list.next ? ' and more' : ''} calls: those in doubt first, then oldest first. ` +
      'sipvigil calls lists all of them.';
  }
  put(byId('live-note'), note);
}

function showEnded() {
  const calls = latest();
  fill(ended, calls, (row, c) => {
    text(row, 0, 'Reason', c.ended_by, '', cause(c));
    text(row, 1, 'Side', /^(caller|callee)-/.exec(c.ended_by)?.[1] || '–');
    person(row, 2, 'From', c.caller.uri);
    person(row, 3, 'To', c.callee.uri);
    text(row, 4, 'Ended', c.ended ? `${since(c.ended)} ago` : '', 'number');
    text(row, 5, 'Lasted', c.answered ? span(Date.parse(c.ended) - Date.parse(c.answered)) : 'not answered', 'number');
    badge(row, 6, 'Caller released', c.caller.released);
    badge(row, 7, 'Callee released', c.callee.released);
    text(row, 8, 'Node', c.node);
  });
  put(byId('ended-note'), calls.length ? 'The latest first.' : 'None that the store remembers.');
}

// fill makes one row a call, keeping the rows that are there already, so that
// selections and the reader's place survive.
function fill(body, calls, show) {
  const old = new Map();
  for (const row of body.rows) old.set(row.dataset.id, row);
  let next = body.firstElementChild;
  for (const c of calls) {
    let row = old.get(c.id);
    if (!row) {
      row = document.createElement('tr');
      row.setAttribute('role', 'row');
      row.dataset.id = c.id;
      row.title = `call ${c.id}`;
    }
    old.delete(c.id);
    if (row === next) next = next.nextElementSibling;
    else body.insertBefore(row, next);
    show(row, c);
  }
  for (const row of old.values()) row.remove();
}

// cell returns the two lines of a cell, made when it is not there yet.
function cell(row, i, label) {
  let td = row.cells[i];
  if (!td) {
    td = row.insertCell();
    td.setAttribute('role', 'cell');
    td.dataset.label = label;
    td.append(document.createElement('span'), ' ', document.createElement('span'));
    td.lastElementChild.className = 'more';
  }
  return [td.firstElementChild, td.lastElementChild, td];
}

function text(row, i, label, value, kind = '', more = '') {
  const [first, second, td] = cell(row, i, label);
  put(first, value);
  put(second, more);
  if (td.className !== kind) td.className = kind;
}

function badge(row, i, label, value, more = '') {
  const [first, second] = cell(row, i, label);
  put(first, value || '–', value ? `badge ${value}` : '');
  put(second, more);
}

// person shows who is behind a name-addr such as "Ann" <sip:ann@host;x=y>.
function person(row, i, label, uri) {
  const [first, second, td] = cell(row, i, label);
  const m = /^\s*(?:"((?:[^"\\]|\\.)*)"|([^<]*?))\s*<?\s*(?:sips?|tel):(?:([^@>;?]*)@)?([^>;?]*)/i.exec(uri);
  const name = m ? (m[1] || m[2] || '').replace(/\\(.)/g, '$1') : '';
  const user = m ? m[3] || m[4] : uri;
  put(first, user || '–');
  put(second, name === user ? '' : name);
  if (td.title !== uri) td.title = uri;
}

function put(element, value, kind) {
  const s = String(value);
  if (element.textContent !== s) element.textContent = s;
  if (kind !== undefined && element.className !== kind) element.className = kind;
}

const trunks = (c) => (c.trunk_in || c.trunk_out ? `${c.trunk_in || '–'} → ${c.trunk_out || '–'}` : '–');

// cause is what the reason rests on, such as 408, or 481 OPTIONS.
function cause(c) {
  if (!c.end_status || c.end_text.startsWith(String(c.end_status))) return c.end_text;
  return `${c.end_status} ${c.end_text}`;
}

const missed = (leg) => {
  if (leg.held) return 'held';
  return leg.misses ? `${leg.misses} missed` : '';
};

// evidence names the older of the two legs' last signs of life: the call is
// proven until then.
function evidence(c) {
  const legs = [['caller', c.caller], ['callee', c.callee]].filter(([, l]) => l.last_alive);
  if (!legs.length) return '–';
  legs.sort(([, a], [, b]) => a.last_alive.localeCompare(b.last_alive));
  const [side, l] = legs[0];
  return `${side} ${l.last_evidence}, ${since(l.last_alive)} ago`;
}

const since = (t) => (t ? span(Date.now() + skew - Date.parse(t)) : '–');

function span(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor(s / 3600) % 24} h`;
}

const clock = (t) => (t ? new Date(t).toLocaleTimeString() : 'it began');

async function run() {
  if (!document.hidden) await refresh();
  setTimeout(run, period);
}
run();
