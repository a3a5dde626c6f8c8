package storetest

import (
	"errors"
	"math"
	"sync"
	"testing"
	"time"

	"sipvigil/store"
)

// odd is text as it may come off the wire: Call-IDs and URIs hold almost any
// character, and bytes that are no characters at all.
const odd = `a{b}"c'd\e[f]:?<g>` + "\r\n\t\x00 \xff\xfe é \u2028 €"

var recordTests = map[string]func(*testing.T, Store){
	"a call reads back as it was saved": func(t *testing.T, s Store) {
		want := Call()
		want.End = store.End{
			Reason: store.Caller.Bye(), Status: 200, Text: "normal clearing", At: want.Answered.Add(time.Minute),
			Released: [2]store.Outcome{store.ReleaseConfirmed, store.ReleaseUnconfirmed},
		}
		s.Save(want)
		same(t, "call", want, get(t, s, want.ID))
	},
	"an empty call reads back as it was saved": func(t *testing.T, s Store) {
		want := store.Call{ID: Call().ID}
		s.Save(want)
		same(t, "call", want, get(t, s, want.ID))
	},
	"any bytes read back as they were saved": func(t *testing.T, s Store) {
		want := Call()
		want.TrunkIn, want.TrunkOut, want.End.Text = odd, odd, odd
		for _, side := range store.Sides {
			leg := want.Leg(side)
			leg.CallID, leg.LocalTag, leg.RemoteTag = odd, odd, odd
			leg.LocalURI, leg.RemoteURI, leg.Target = odd, odd, odd
			leg.UserAgent, leg.Allow = odd, odd
			leg.RouteSet = []string{odd, "", `","`, odd}
			leg.Session = store.Session{Refresher: odd, Offer: odd}
			leg.Health = Health()
			leg.LastEvidence = odd
		}
		s.Save(want)
		for _, side := range store.Sides {
			s.SaveHealth(store.LegHealth{ID: want.ID, Side: side, Health: want.Leg(side).Health})
		}
		same(t, "call", want, get(t, s, want.ID))
	},
	"what is read back counts as spent": func(t *testing.T, s Store) {
		want := Call()
		c := want
		c.Leg(store.Callee).LocalCSeq, c.Leg(store.Callee).LocalAsked = 9, 32
		s.Save(c)
		same(t, "call", want, get(t, s, c.ID))
	},
	"a session timer reads back as it was saved, and leaves nothing when it is off": func(t *testing.T, s Store) {
		want := Call()
		want.Leg(store.Callee).Session = store.Session{
			Interval: 1800 * time.Second, MinSE: 90 * time.Second, Refresher: store.Self,
			Refreshed: want.Answered.Add(time.Hour), Offer: "v=0\r\n",
		}
		want.Leg(store.Caller).Session = store.Session{
			Interval: math.MaxUint32 * time.Second, Refresher: store.Peer, Refreshed: want.Answered,
		}
		s.Save(want)
		same(t, "call", want, get(t, s, want.ID))
		for _, side := range store.Sides {
			want.Leg(side).Session = store.Session{}
		}
		s.Save(want)
		same(t, "call", want, get(t, s, want.ID))
	},
	"times are kept to the millisecond in UTC": func(t *testing.T, s Store) {
		c := Call()
		c.Started = time.Date(2026, 3, 1, 14, 0, 0, 123456789, time.FixedZone("", 2*3600))
		h := Health()
		h.LastAlive = c.Started
		s.Save(c)
		s.SaveHealth(store.LegHealth{ID: c.ID, Side: store.Caller, Health: h})
		want := c
		want.Started = time.Date(2026, 3, 1, 12, 0, 0, 123e6, time.UTC)
		want.Leg(store.Caller).Health = h
		want.Leg(store.Caller).LastAlive = want.Started
		got := get(t, s, c.ID)
		same(t, "call", want, got)
		same(t, "zone", "UTC", got.Started.Location().String())
	},
	"the last save wins and leaves nothing of the one before": func(t *testing.T, s Store) {
		c := Call()
		s.Save(c)
		Settled(t, s)
		want := store.Call{ID: c.ID, State: store.Ending, Node: Node, Epoch: 1}
		for _, side := range store.Sides {
			want.Leg(side).LocalCSeq, want.Leg(side).LocalMark = 16, 16
		}
		s.Save(want)
		same(t, "call", want, get(t, s, c.ID))
	},
	"health and the rest do not overwrite each other": func(t *testing.T, s Store) {
		want := Call()
		s.Save(want)
		s.SaveHealth(store.LegHealth{ID: want.ID, Side: store.Callee, Health: Health()})
		want.Leg(store.Callee).Health = Health()
		same(t, "with the callee's health", want, get(t, s, want.ID))

		want.State = store.Ending
		stale := want
		stale.Leg(store.Caller).Health = Health()
		stale.Leg(store.Callee).Health = store.Health{Liveness: store.Gone}
		s.Save(stale)
		same(t, "after a save that holds other health", want, get(t, s, want.ID))

		want.Leg(store.Caller).Health = store.Health{Liveness: store.Alive}
		s.SaveHealth(store.LegHealth{ID: want.ID, Side: store.Caller, Health: want.Leg(store.Caller).Health})
		same(t, "with the caller's health", want, get(t, s, want.ID))
	},
	"health loses what became empty": func(t *testing.T, s Store) {
		want := Call()
		s.Save(want)
		s.SaveHealth(store.LegHealth{ID: want.ID, Side: store.Caller, Health: Health()})
		Settled(t, s)
		s.SaveHealth(store.LegHealth{ID: want.ID, Side: store.Caller, Health: store.Health{}})
		same(t, "call", want, get(t, s, want.ID))
	},
	"health without a call makes no call": func(t *testing.T, s Store) {
		id := Call().ID
		s.SaveHealth(store.LegHealth{ID: id, Side: store.Caller, Health: Health()})
		s.Reserve(id, store.Caller, 7, nil)
		notFound(t, s, id)
		same(t, "list", []string(nil), list(t, s, store.Query{}))
	},
	"an unknown call is not found": func(t *testing.T, s Store) {
		notFound(t, s, Call().ID)
		notFound(t, s, "no UUID {at all}")
	},
	"a mark is raised and never falls": func(t *testing.T, s Store) {
		c := Call()
		s.Save(c)
		marks := func(caller, callee uint32) {
			t.Helper()
			got := get(t, s, c.ID)
			want := [4]uint32{caller, caller, callee, callee}
			same(t, "marks", want, [4]uint32{
				got.Legs[0].LocalMark, got.Legs[0].LocalCSeq, got.Legs[1].LocalMark, got.Legs[1].LocalCSeq,
			})
		}
		s.Reserve(c.ID, store.Callee, 48, nil)
		s.Reserve(c.ID, store.Callee, 32, nil)
		marks(16, 48)
		s.Reserve(c.ID, store.Callee, 32, nil)
		marks(16, 48)
		s.Save(c)
		marks(16, 48)
		c.Leg(store.Caller).LocalMark = 4294967295
		c.Leg(store.Callee).LocalMark = 0
		s.Save(c)
		marks(4294967295, 48)
	},
	"what is covered was written before": func(t *testing.T, s Store) {
		c := Call()
		s.Save(c)
		covered := make(chan uint32, 1)
		s.Reserve(c.ID, store.Caller, 64, func(mark uint32) { covered <- mark })
		same(t, "mark", uint32(64), Receive(t, "covered is called", covered))
		got, err := s.Get(t.Context(), c.ID)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "stored mark", uint32(64), got.Leg(store.Caller).LocalMark)
	},
	"each of many reservations is covered once": func(t *testing.T, s Store) {
		c := Call()
		s.Save(c)
		var mu sync.Mutex
		got := map[uint32]int{}
		want := map[uint32]int{}
		for mark := uint32(1); mark <= 200; mark++ {
			want[mark] = 1
			s.Reserve(c.ID, store.Sides[mark%2], mark, func(mark uint32) {
				mu.Lock()
				defer mu.Unlock()
				got[mark]++
			})
		}
		Settled(t, s)
		mu.Lock()
		defer mu.Unlock()
		same(t, "covered", want, got)
	},
	"covered may use the store": func(t *testing.T, s Store) {
		c := Call()
		s.Save(c)
		covered := make(chan uint32, 1)
		s.Reserve(c.ID, store.Caller, 20, func(uint32) {
			s.Reserve(c.ID, store.Caller, 40, func(mark uint32) { covered <- mark })
		})
		same(t, "mark", uint32(40), Receive(t, "covered is called", covered))
	},
	"records are copies": func(t *testing.T, s Store) {
		c := Call()
		s.Save(c)
		c.Leg(store.Caller).RouteSet[0] = "changed after the save"
		got := get(t, s, c.ID)
		got.Leg(store.Callee).RouteSet[0] = "changed after the read"
		got = get(t, s, c.ID)
		for _, side := range store.Sides {
			same(t, "route set", []string{"<sip:p1.example.net;lr>", "<sip:p2.example.net;lr>"}, got.Leg(side).RouteSet)
		}
	},
	"changes by many at once are all there in the end": func(t *testing.T, s Store) {
		calls := several(20)
		var wg sync.WaitGroup
		for i := range calls {
			c := calls[i]
			wg.Go(func() {
				for n := range 50 {
					c.TrunkOut = "carrier-" + string(rune('a'+n%26))
					s.Save(c)
				}
			})
			for _, side := range store.Sides {
				wg.Go(func() {
					for n := range uint32(50) {
						s.Reserve(c.ID, side, 16+n, nil)
						s.SaveHealth(store.LegHealth{ID: c.ID, Side: side, Health: store.Health{Liveness: store.Alive, Misses: int(n)}})
						_, _ = s.Get(t.Context(), c.ID)
					}
				})
			}
		}
		wg.Wait()
		for i := range calls {
			for _, side := range store.Sides { // the first may have come before the call
				s.Reserve(calls[i].ID, side, 65, nil)
				s.SaveHealth(store.LegHealth{ID: calls[i].ID, Side: side, Health: store.Health{Liveness: store.Alive, Misses: 49}})
			}
		}
		for _, want := range calls {
			want.TrunkOut = "carrier-x"
			for _, side := range store.Sides {
				leg := want.Leg(side)
				leg.LocalCSeq, leg.LocalMark = 65, 65
				leg.Health = store.Health{Liveness: store.Alive, Misses: 49}
			}
			same(t, "call", want, get(t, s, want.ID))
		}
	},
}

func notFound(t *testing.T, s Store, id string) {
	t.Helper()
	Settled(t, s)
	if c, err := s.Get(t.Context(), id); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("get %q: %v, %v, want %v", id, c, err, store.ErrNotFound)
	}
}
