package storetest

import (
	"errors"
	"testing"
	"time"

	"sipvigil/store"
)

// ended is a call's final record.
func ended(c store.Call) store.Call {
	c.State = store.Ending
	c.End = store.End{
		Reason: store.Callee.Silent(), Status: 408, Text: "no answer to 2 probes", At: c.Answered.Add(time.Hour),
		Released: [2]store.Outcome{store.ReleaseConfirmed, store.ReleaseAlreadyGone},
	}
	return c
}

var finishTests = map[string]func(*testing.T, Store){
	"a finished call leaves the lists and stays readable": func(t *testing.T, s Store) {
		calls := several(3)
		for _, c := range calls {
			s.Save(c)
		}
		s.SaveHealth(store.LegHealth{ID: calls[1].ID, Side: store.Callee, Health: Health()})
		Settled(t, s)
		want := ended(calls[1])
		s.Finish(want, time.Hour)
		want.State = store.Terminated
		want.Leg(store.Callee).Health = Health()
		same(t, "call", want, get(t, s, want.ID))
		rest := []string{calls[0].ID, calls[2].ID}
		same(t, "list", rest, list(t, s, store.Query{}))
		same(t, "list of terminated calls", []string(nil), list(t, s, store.Query{State: store.Terminated}))
		same(t, "owned", rest, owned(t, s, Node))
	},
	"a call begun and finished at once is kept as finished": func(t *testing.T, s Store) {
		c := Call()
		s.Save(c)
		s.SaveHealth(store.LegHealth{ID: c.ID, Side: store.Caller, Health: Health()})
		s.Reserve(c.ID, store.Caller, 99, nil)
		s.Finish(ended(c), time.Hour)
		want := ended(c)
		want.State = store.Terminated
		want.Leg(store.Caller).Health = Health()
		want.Leg(store.Caller).LocalCSeq, want.Leg(store.Caller).LocalMark = 99, 99
		same(t, "call", want, get(t, s, c.ID))
		same(t, "list", []string(nil), list(t, s, store.Query{}))
	},
	"a call that was never saved can be finished": func(t *testing.T, s Store) {
		want := ended(Call())
		s.Finish(want, time.Hour)
		want.State = store.Terminated
		same(t, "call", want, get(t, s, want.ID))
		same(t, "owned", []string(nil), owned(t, s, Node))
	},
	"a finished call is forgotten after its time": func(t *testing.T, s Store) {
		c := Call()
		s.Save(c)
		s.Finish(ended(c), 50*time.Millisecond)
		Settled(t, s)
		Eventually(t, "the call is forgotten", func() bool {
			_, err := s.Get(t.Context(), c.ID)
			return errors.Is(err, store.ErrNotFound)
		})
	},
	"a finished call that is not to be kept is forgotten at once": func(t *testing.T, s Store) {
		c := Call()
		s.Save(c)
		s.Finish(ended(c), 0)
		notFound(t, s, c.ID)
		same(t, "list", []string(nil), list(t, s, store.Query{}))
		same(t, "owned", []string(nil), owned(t, s, Node))
	},
	"a finished call is not revived": func(t *testing.T, s Store) {
		c := Call()
		s.Save(c)
		s.Finish(ended(c), time.Hour)
		want := ended(c)
		want.State = store.Terminated
		late := func(when string) {
			t.Helper()
			s.SaveHealth(store.LegHealth{ID: c.ID, Side: store.Callee, Health: Health()})
			covered := make(chan uint32, 1)
			s.Reserve(c.ID, store.Caller, 1000, func(mark uint32) { covered <- mark })
			s.Save(c)
			s.Finish(c, time.Minute)
			same(t, when, want, get(t, s, c.ID))
			same(t, "list", []string(nil), list(t, s, store.Query{}))
			same(t, "owned", []string(nil), owned(t, s, Node))
			// Nobody is kept waiting for a call that is over.
			same(t, "mark", uint32(1000), Receive(t, "covered is called", covered))
		}
		late("changed at once")
		late("changed when it was written")
	},
}
