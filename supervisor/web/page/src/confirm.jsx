// Questions before something is done that cannot be undone.

import { useEffect, useRef, useState } from 'preact/hooks';

// Confirm is a dialog that asks first, then says what came of it. With reason it
// asks why, and hands that to act.
export function Confirm({ title, action, act, close, reason = false, ready = true, children }) {
  const dialog = useRef(null);
  const [text, setText] = useState('');
  const [state, setState] = useState({ busy: false, done: '', failed: '' });
  const leave = useRef(null);
  useEffect(() => { dialog.current.showModal(); }, []);
  useEffect(() => { if (state.done) leave.current.focus(); }, [state.done]);
  const submit = async (e) => {
    e.preventDefault();
    setState({ busy: true, done: '', failed: '' });
    try {
      setState({ busy: false, done: (await act(text.trim())) || 'Done.', failed: '' });
    } catch (err) {
      setState({ busy: false, done: '', failed: err.message });
    }
  };
  return (
    <dialog ref={dialog} class="confirm" aria-labelledby="confirm-title" onClose={close}>
      <form onSubmit={submit}>
        <h2 id="confirm-title">{title}</h2>
        {children}
        {reason && !state.done && (
          <label class="reason">Reason, for the record
            <input name="reason" value={text} onInput={(e) => setText(e.currentTarget.value)} maxLength="200" required autofocus
              placeholder="stuck since noon, carrier asked" autocomplete="off" />
          </label>
        )}
        <p class={state.failed ? 'failed' : 'done'} role="status">{state.failed || state.done}</p>
        <p class="buttons">
          <button ref={leave} type="button" onClick={() => dialog.current.close()}>{state.done ? 'Close' : 'Cancel'}</button>
          {!state.done && <button type="submit" class="danger" disabled={state.busy || !ready}>{action}</button>}
        </p>
      </form>
    </dialog>
  );
}
