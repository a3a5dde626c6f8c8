// What is shown stands in the URL: it can be bookmarked, sent to a colleague,
// and the browser's back button works.

import { computed, signal } from '@preact/signals';

export const url = signal(new URLSearchParams(location.search));
addEventListener('popstate', () => { url.value = new URLSearchParams(location.search); });

const read = (name, otherwise = '') => computed(() => url.value.get(name) || otherwise);
export const view = read('view', 'calls');
export const opened = read('call');
export const sort = read('sort', 'trouble');
export const filter = computed(() => ({
  number: url.value.get('number') || '',
  trunk: url.value.get('trunk') || '',
  state: url.value.get('state') || '',
  liveness: url.value.get('liveness') || '',
  node: url.value.get('node') || '',
  older: url.value.get('older') || '',
}));

// href is the address of the page with these changes; an empty value takes a
// parameter away.
export function href(changes, from = url.value) {
  const next = new URLSearchParams(from);
  for (const [name, value] of Object.entries(changes)) {
    if (value) next.set(name, value);
    else next.delete(name);
  }
  const text = next.toString();
  return text ? `/?${text}` : '/';
}

// go shows the page with these changes. What is typed replaces the entry in the
// history, or each letter would be one.
export function go(changes, { replace = false } = {}) {
  const to = href(changes);
  if (to === location.pathname + location.search) return;
  if (replace) history.replaceState(null, '', to);
  else history.pushState(null, '', to);
  url.value = new URLSearchParams(location.search);
}

// follow is the click handler of links within the page.
export function follow(e) {
  if (e.defaultPrevented || e.button || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey) return;
  e.preventDefault();
  const to = new URL(e.currentTarget.href);
  if (to.search !== location.search) history.pushState(null, '', to.pathname + to.search);
  url.value = to.searchParams;
}
