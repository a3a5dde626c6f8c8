// How values are written for people. Nothing here touches the document.

// person takes a name-addr such as "Ann" <sip:ann@host;x=y> apart.
export function person(addr) {
  const open = addr.lastIndexOf('<'); // a name in quotes may have one, too
  let name = open > 0 ? addr.slice(0, open).trim() : '';
  if (name.startsWith('"') && name.endsWith('"')) name = name.slice(1, -1).replace(/\\(.)/g, '$1');
  let uri = open >= 0 ? addr.slice(open + 1) : addr;
  const close = uri.indexOf('>');
  if (close >= 0) uri = uri.slice(0, close);
  const colon = uri.indexOf(':');
  let rest = colon >= 0 ? uri.slice(colon + 1) : uri;
  const at = rest.indexOf('@');
  const user = at >= 0 ? rest.slice(0, at) : '';
  rest = rest.slice(at + 1);
  const end = rest.search(/[;?]/);
  const host = end >= 0 ? rest.slice(0, end) : rest;
  const who = user || host || addr;
  return { who, name: name === who ? '' : name, host };
}

// userOf is the user in a name-addr, as quickly as that may be had.
export function userOf(addr) {
  const colon = addr.indexOf(':', addr.lastIndexOf('<') + 1);
  const at = addr.indexOf('@', colon + 1);
  return at < 0 ? person(addr).who : addr.slice(colon + 1, at);
}

// age is a length of time in two parts at most: 12s, 4m 05s, 3h 12m, 2d 4h.
export function age(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  const two = (n) => String(n).padStart(2, '0');
  if (s < 60) return `${s}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m ${two(s % 60)}s`;
  if (s < 86400) return `${Math.floor(s / 3600)}h ${two(Math.floor(s / 60) % 60)}m`;
  return `${Math.floor(s / 86400)}d ${Math.floor(s / 3600) % 24}h`;
}

const grouped = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat('en', { maximumFractionDigits: 1, minimumFractionDigits: 1 });

export const count = (n) => (n === undefined || n === null ? '–' : grouped.format(n));
export const rate = (n) => (n === undefined || n === null ? '–' : tenths.format(n));
export const rtt = (ms) => (ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`);

const hms = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const day = new Intl.DateTimeFormat('en-GB', { day: '2-digit', month: 'short' });
export const clock = (t) => (t ? hms.format(t) : '–');
export const moment = (t) => (t ? `${day.format(t)} ${hms.format(t)}` : '–');

// when reads a time of the API, 0 for none.
export const when = (text) => (text ? Date.parse(text) : 0);

// plural is "1 call", "2 calls".
export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;

// ticks says a strip in words, for those who do not see it.
const names = { a: 'answered', e: 'showed itself', m: 'missed', x: 'denied the call', d: 'disturbed', h: 'held' };
export function ticks(strip) {
  if (!strip) return 'not asked yet';
  const n = {};
  for (const t of strip) n[t] = (n[t] || 0) + 1;
  return `lately: ${Object.entries(n).map(([t, k]) => `${k} ${names[t] || t}`).join(', ')}`;
}
