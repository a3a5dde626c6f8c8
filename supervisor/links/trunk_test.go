package links

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestATrunkIsTheSumOfItsAddresses(t *testing.T) {
	names := map[string]lookup{"sip:carrier.example": {addrs: []string{here, there}, ttl: 100 * time.Second}, "sip:nowhere.example": {fault: "no such name"}}
	trunks := one(Default())
	inWorld(t, trunks, names, func(w *world) {
		w.answers(here, inTurn("200 OK"))
		w.until(75 * time.Second)
		w.happened("one of two", "500ms ask", "500ms there ask", "510ms up", "510ms trunk up", "30.5s there ask", "1m0.5s there ask",
			"1m0.51s ask", "1m10.5s there down", "1m10.5s trunk partial")
		w.answers(here, inTurn("-"))
		w.until(4 * time.Minute)
		if s := w.links.State("carrier"); s != Down {
			t.Errorf("without any the trunk is %s", s)
		}
		w.mu.Lock()
		w.names["sip:carrier.example"] = lookup{addrs: []string{there}, ttl: 100 * time.Second}
		w.events = nil
		w.mu.Unlock()
		w.answers(there, inTurn("200 OK"))
		w.until(6 * time.Minute)
		w.happened("the name leads elsewhere", "4m0.5s there ask", "4m0.52s ask", "4m30.51s there ask", "4m30.52s there up",
			"4m30.52s trunk partial", "4m30.52s ask", "5m0s trunk up", "5m30.52s there ask")
		if use := w.links.Use("carrier", place(here)); use != UseFirst {
			t.Errorf("the use of an address that nobody watches any more is %v", use)
		}
	})
	inWorld(t, trunks, map[string]lookup{"sip:carrier.example": {addrs: []string{here}, ttl: 2 * time.Second}}, func(w *world) {
		w.answers(here, inTurn("-"))
		w.until(time.Second)
		w.mu.Lock()
		w.names["sip:carrier.example"] = lookup{addrs: []string{there}}
		w.mu.Unlock()
		w.until(3 * time.Second)
		w.links.mu.Lock()
		w.links.trunks[0].Config.DownAfter = 1 // what is answered for an address that is gone changes nothing
		w.links.mu.Unlock()
		w.until(12 * time.Second)
		w.happened("an address goes while it is being asked", "500ms ask", "2.5s there ask")
	})
	trunks[0].Targets = []string{"sip:nowhere.example"}
	inWorld(t, trunks, names, func(w *world) {
		w.until(time.Minute)
		w.happened("a name without addresses", "0s addresses of a trunk cannot be looked up", "0s trunk down")
	})
	trunks[0].Targets = []string{"sip:carrier.example", "sip:carrier.example"}
	inWorld(t, trunks, map[string]lookup{"sip:carrier.example": {addrs: []string{here, there}}}, func(w *world) {
		w.until(30 * time.Second)
		w.happened("two targets with the same address", "500ms ask", "500ms there ask")
	})
}

func TestAnAddressThatOneTargetLeavesIsStillTheOtherOnes(t *testing.T) {
	trunks := one(Default())
	trunks[0].Targets = []string{"sip:192.0.2.1", "sip:carrier.example"}
	names := map[string]lookup{"sip:192.0.2.1": {fault: "not yet"}, "sip:carrier.example": {addrs: []string{here}, ttl: time.Minute}}
	inWorld(t, trunks, names, func(w *world) {
		w.answers(here, inTurn("200 OK"))
		w.until(time.Second)
		w.mu.Lock()
		w.names["sip:192.0.2.1"] = lookup{addrs: []string{here}}
		w.names["sip:carrier.example"] = lookup{addrs: []string{there}}
		w.mu.Unlock()
		w.until(30 * time.Second)
		w.happened("both lead there", "500ms ask", "510ms up")
		w.until(4 * time.Minute)
		if s := w.links.State("carrier"); s != Partial {
			t.Errorf("with one of two addresses the trunk is %s", s)
		}
		w.happened("one leads elsewhere", "1m0.5s there ask", "1m0.51s ask", "1m30.5s there ask", "2m0.5s there ask", "2m0.52s ask",
			"2m10.5s there down", "2m10.5s trunk partial", "2m30.5s there ask", "3m0.5s there ask", "3m0.53s ask", "3m30.5s there ask")
	})
}

func TestQuestionsToManyAddressesAreSpreadAndPaced(t *testing.T) {
	var addrs []string
	for i := range 250 {
		addrs = append(addrs, fmt.Sprintf("192.0.2.%d:5060", i+1))
	}
	names := map[string]lookup{"sip:carrier.example": {addrs: addrs}}
	inWorld(t, one(Default()), names, func(w *world) {
		for _, a := range addrs {
			w.answers(a, inTurn("200 OK"))
		}
		count := func() (n int) {
			w.mu.Lock()
			defer w.mu.Unlock()
			for _, e := range w.events {
				if strings.HasSuffix(e, "ask") {
					n++
				}
			}
			return n
		}
		w.until(500 * time.Millisecond)
		if n := count(); n != burst {
			t.Errorf("%d questions at once, want %d", n, burst)
		}
		w.until(1500 * time.Millisecond)
		if n := count(); n < burst+perSecond-2 || n > burst+perSecond {
			t.Errorf("%d questions after a second, want %d", n, burst+perSecond)
		}
		w.until(4 * time.Second)
		if n := count(); n != len(addrs) {
			t.Errorf("%d questions in all, want %d", n, len(addrs))
		}
	})
}

func TestATrunkIsAskedWhenACallBehindItIsSilent(t *testing.T) {
	inWorld(t, one(Default()), oneAddress, func(w *world) {
		w.answers(here, inTurn("200 OK"))
		doubt := func(ago time.Duration, want Doubt, mended time.Duration) {
			t.Helper()
			d, at := w.links.Doubt("carrier", time.Now().Add(-ago))
			if d != want {
				t.Errorf("doubt %v, want %v", d, want)
			}
			if at.IsZero() != (mended == 0) || mended != 0 && at.Sub(w.zero) != mended {
				t.Errorf("mended %v, want %v", at, mended)
			}
		}
		w.until(40 * time.Second)
		w.happened("start", "500ms ask", "510ms up")
		doubt(39500*time.Millisecond, NoDoubt, 0)
		doubt(30*time.Second, Asking, 0)
		doubt(30*time.Second, Asking, 0)
		w.until(41 * time.Second)
		w.happened("it is asked at once", "40s ask")
		doubt(30*time.Second, NoDoubt, 0)

		w.answers(here, inTurn("-", "200 OK"))
		doubt(0, Asking, 0)
		w.until(55 * time.Second)
		doubt(20*time.Second, Failing, 0)
		w.until(72 * time.Second)
		doubt(time.Minute, NoDoubt, 71010*time.Millisecond)
		if d, _ := w.links.Doubt("nobody", time.Now()); d != NoDoubt {
			t.Errorf("a trunk that is not watched is in doubt: %v", d)
		}
	})
}

func TestAnIdleOrHeldLinkIsAskedAllTheSameWhenACallIsSilent(t *testing.T) {
	c, _ := Preset("lync")
	inWorld(t, one(c), oneAddress, func(w *world) {
		w.answers(here, inTurn("200 OK"))
		w.until(10 * time.Second)
		w.hears("<")
		w.until(2 * time.Minute)
		if d, _ := w.links.Doubt("carrier", time.Now()); d != Asking {
			t.Errorf("doubt %v", d)
		}
		w.happened("held", "500ms ask", "510ms up", "2m0s ask")
	})
}

func TestWhatIsSeenOfATrunk(t *testing.T) {
	inWorld(t, []Trunk{{Name: "carrier", Preset: "teams", Targets: []string{"sip:carrier.example", "sip:nowhere.example"}, Config: Default()}},
		map[string]lookup{"sip:carrier.example": {addrs: []string{here, there}}, "sip:nowhere.example": {fault: "no such name"}},
		func(w *world) {
			w.answers(here, inTurn("200 OK", "404 Not Found"))
			w.until(65 * time.Second)
			at := func(d time.Duration) time.Time { return w.zero.Add(d) }
			ms := time.Millisecond
			want := []Health{{Name: "carrier", Preset: "teams", Probe: Options, State: Partial, Since: at(0), Addresses: []Address{
				{Target: "sip:carrier.example", Place: place(here), State: Up, Since: at(510 * ms), RTT: 10 * ms,
					Last: "404 Not Found to OPTIONS", LastAt: at(60520 * ms), Next: at(120520 * ms)},
				{Target: "sip:carrier.example", Place: place(there), State: Unknown, Since: at(0),
					Last: "no answer to OPTIONS", LastAt: at(40500 * ms)},
				{Target: "sip:nowhere.example", State: Down, Use: UseNever, Last: "no such name", Next: at(70 * time.Second)},
			}}}
			if diff := cmp.Diff(want, w.links.Health(), cmp.Comparer(func(a, b Place) bool { return a == b })); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
}
