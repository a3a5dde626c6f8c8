// Requests to the server that the page came from.

// skew is what the server's clock is ahead of ours, in ms.
export let skew = 0;
export const now = () => Date.now() + skew;

// Refusal is an answer with a problem.
export class Refusal extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

// ask sends a request and returns the response, or throws a Refusal.
export async function ask(path, { method = 'GET', body, signal } = {}) {
  const h = {};
  if (body !== undefined) h['Content-Type'] = 'application/json';
  if (method !== 'GET') h['Idempotency-Key'] = key();
  const r = await fetch(path, {
    method, headers: h, cache: 'no-store', signal, body: body === undefined ? undefined : JSON.stringify(body),
  }).catch((e) => {
    throw signal?.aborted ? e : new Error('The server does not answer.');
  });
  const date = Date.parse(r.headers.get('Date'));
  if (date) skew = Math.abs(date - Date.now()) > 2000 ? date - Date.now() : 0;
  if (!r.ok) {
    let detail = `${r.status} ${r.statusText}`;
    try {
      detail = (await r.json()).detail || detail;
    } catch { /* no problem document: the status has to do */ }
    throw new Refusal(r.status, detail);
  }
  return r;
}

export const get = async (path, options) => (await ask(path, options)).json();
export const send = async (method, path, body) => (await ask(path, { method, body })).json();

// key makes a request that is repeated by accident the same request.
function key() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('');
}
