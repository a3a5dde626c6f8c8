package links

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAnAddressIsAskedAtTwoSpeedsAndChangesAfterItsThresholds(t *testing.T) {
	course(t, Default(), inTurn("200 OK", "200 OK", "-", "-", "-", "-", "200 OK", "-", "200 OK", "200 OK", "200 OK"), 7*time.Minute,
		"500ms ask", "510ms up",
		"1m0.51s ask",
		"2m0.52s ask", // the first failure: from now on every 30 s
		"2m30.52s ask",
		"3m0.52s ask", "3m10.52s down",
		"3m30.52s ask",
		"4m0.52s ask",  // one sign of life is not enough
		"4m30.53s ask", // and this ends their row
		"5m0.53s ask",  //
		"5m30.54s ask", "5m30.55s up",
		"6m30.55s ask")
}

func TestAnAddressThatNeverAnswersIsUnknownAndThenDown(t *testing.T) {
	inWorld(t, one(Default()), oneAddress, func(w *world) {
		w.until(time.Minute)
		if use := w.links.Use("carrier", place(here)); use != UseFirst {
			t.Errorf("while it is unknown its use is %v", use)
		}
		w.until(3 * time.Minute)
		w.happened("silence", "500ms ask", "30.5s ask", "1m0.5s ask", "1m10.5s down", "1m30.5s ask", "2m0.5s ask", "2m30.5s ask")
		if use := w.links.Use("carrier", place(here)); use != UseNever {
			t.Errorf("while it is down its use is %v", use)
		}
	})
}

func TestAQuestionThatCannotBeSentIsAFailure(t *testing.T) {
	course(t, Default(), inTurn("200 OK", "!"), 3*time.Minute,
		"500ms ask", "510ms up", "1m0.51s ask", "1m30.51s ask", "2m0.51s ask", "2m0.52s down", "2m30.51s ask")
}

func TestAnAddressThatAsksToBeLeftAloneIsDownForThatLong(t *testing.T) {
	course(t, Default(), inTurn("200 OK", "503 Overload; 100", "200 OK"), 4*time.Minute,
		"500ms ask", "510ms up", "1m0.51s ask", "1m0.52s down",
		"2m40.52s ask", "3m10.53s ask", "3m10.54s up")
	// Where 503 is an answer like any other, its Retry-After is none of ours.
	c := Default()
	c.DownCodes = nil
	course(t, c, inTurn("503 Overload; 100"), 90*time.Second, "500ms ask", "510ms up", "1m0.51s ask")
}

func TestIntervalsVaryByTheJitter(t *testing.T) {
	inWorld(t, one(Default()), oneAddress, func(w *world) {
		w.answers(here, inTurn("200 OK"))
		for _, r := range []struct {
			random float64
			next   time.Duration
		}{{0, 54 * time.Second}, {0.999999, 66 * time.Second}, {0.25, 57 * time.Second}} {
			w.until(time.Since(w.zero) + time.Second)
			w.links.mu.Lock()
			w.links.random = func() float64 { return r.random }
			k := w.links.trunks[0].links[0]
			k.due = time.Now()
			w.links.mu.Unlock()
			w.links.nudge()
			time.Sleep(20 * time.Millisecond)
			w.links.mu.Lock()
			if got := k.due.Sub(k.lastAt).Round(time.Millisecond); got != r.next {
				t.Errorf("the next question comes %v after the answer, want %v", got, r.next)
			}
			w.links.mu.Unlock()
		}
	})
}

func TestRealTrafficTakesAnAddressDownAndShowsThatItIsThere(t *testing.T) {
	inWorld(t, one(Default()), oneAddress, func(w *world) {
		w.answers(here, inTurn("200 OK"))
		w.until(10 * time.Second)
		w.happened("start", "500ms ask", "510ms up")
		w.hears("-", "-", "180 Ringing", "-", "!")
		w.happened("two INVITEs in a row fail")
		w.hears("503 Busy")
		w.happened("three do", "10s down")
		w.until(2 * time.Minute) // asked soon, it says that it is there
		w.happened("recovery", "40s ask", "1m10.01s ask", "1m10.02s up")
		w.hears("-", "-", "503 Busy; 20")
		w.happened("again", "2m0s down")

		w.answers(here, inTurn("-"))
		w.until(5 * time.Minute)
		w.happened("silence", "2m30s ask", "3m0s ask", "3m30s ask", "4m0s ask", "4m30s ask", "5m0s ask")
		for range 10 {
			w.hears("200 OK", "200 OK")
		}
		w.happened("a burst of answers that were under way")
		w.until(5*time.Minute + 30*time.Second)
		w.hears("200 OK")
		w.happened("an answer half a minute later, but a question failed in between", "5m30s ask")
	})
}

func TestAnAddressThatAnswersNoINVITEIsBusyForAsLongAsItSays(t *testing.T) {
	inWorld(t, one(Default()), oneAddress, func(w *world) {
		w.answers(here, inTurn("200 OK"))
		w.until(10 * time.Second)
		w.hears("503 Busy; 300")
		for range 3 {
			time.Sleep(40 * time.Second)
			w.hears("200 OK")
		}
		w.until(6 * time.Minute)
		w.happened("busy", "500ms ask", "510ms up", "10s down", "5m10s ask", "5m40.01s ask", "5m40.02s up")
		w.answers(here, inTurn("-"))
		w.until(8*time.Minute + 25*time.Second)
		w.hears("503 Busy; 100")
		w.until(10*time.Minute + 10*time.Second)
		w.happened("once more while it is down", "6m40.02s ask", "7m10.02s ask", "7m40.02s ask", "7m50.02s down", "8m10.02s ask", "10m5s ask")
	})
}

// Who says that it takes no calls is believed, whatever else comes from there.
func TestOnlyAnAnswerToAQuestionEndsARefusal(t *testing.T) {
	c := Default()
	c.DownAfter = 1
	inWorld(t, one(c), oneAddress, func(w *world) {
		w.answers(here, inTurn("503 Maintenance", "503 Maintenance", "200 OK"))
		w.until(time.Second)
		for range 300 {
			time.Sleep(200 * time.Millisecond)
			w.hears("200 OK", "<")
		}
		w.until(3 * time.Minute)
		w.happened("maintenance", "500ms ask", "510ms down", "30.5s ask", "1m0.5s ask", "1m30.51s ask", "1m30.52s up", "2m30.52s ask")
	})
	inWorld(t, one(Default()), oneAddress, func(w *world) {
		w.answers(here, inTurn("503 Maintenance", "200 OK", "-"))
		for range 30 {
			time.Sleep(20 * time.Second)
			w.hears("<")
		}
		if s := w.links.State("carrier"); s != Up {
			t.Errorf("after its maintenance it is %s, although it shows itself", s)
		}
	})
}

func TestRequestsFromAnAddressShowThatItCanBeReached(t *testing.T) {
	from := func(addr string) Place { p := place(addr); p.Transport = "tcp"; return p }
	inWorld(t, one(Default()), oneAddress, func(w *world) { // it answers no question, and asks every 40 s
		for range 10 {
			time.Sleep(40 * time.Second)
			w.links.Heard("carrier", from("192.0.2.1:40000"), traffic("<"))
			w.links.Heard("carrier", from("192.0.2.7:5060"), traffic("<"))
			w.links.Heard("other", from("192.0.2.1:5060"), traffic("<"))
		}
		if s := w.links.State("carrier"); s != Up {
			t.Errorf("it is %s", s)
		}
	})
	c := Default()
	c.InboundCounts = false
	inWorld(t, one(c), oneAddress, func(w *world) {
		for range 10 {
			time.Sleep(40 * time.Second)
			w.hears("<")
		}
		if s := w.links.State("carrier"); s != Down {
			t.Errorf("where such requests do not count it is %s", s)
		}
	})
}

// That its requests reach us does not mean that ours reach it.
func TestRequestsFromAnAddressDoNotMakeUpForLostINVITEs(t *testing.T) {
	c := Default()
	c.UpAfter = 1
	inWorld(t, one(c), oneAddress, func(w *world) {
		w.answers(here, inTurn("200 OK", "-"))
		w.until(10 * time.Second)
		w.hears("-", "<", "-", "<", "-", "<")
		w.until(time.Minute)
		w.hears("<")
		w.until(2 * time.Minute)
		w.hears("<")
		w.happened("one way", "500ms ask", "510ms up", "10s down", "40s ask", "1m10s ask", "1m40s ask")
	})
}

func TestAnIdleLinkIsAskedOnlyWhileTrafficShowsNothing(t *testing.T) {
	c := Default()
	c.Mode = IdleOnly
	inWorld(t, one(c), oneAddress, func(w *world) {
		w.answers(here, inTurn("200 OK", "-", "-", "200 OK"))
		for range 5 {
			time.Sleep(50 * time.Second)
			w.hears("200 OK")
		}
		w.happened("traffic", "500ms ask", "510ms up")
		w.until(5*time.Minute + 20*time.Second)
		w.happened("idle", "5m10s ask") // a minute after the last answer
		w.hears("200 OK")               // that is an answer to the question, too
		w.until(8 * time.Minute)
		w.happened("idle again", "6m20s ask", "6m50s ask", "7m50.01s ask")
	})
}

func TestALinkThatTakesCallsAgainMayBeIdle(t *testing.T) {
	c := Default()
	c.Mode = IdleOnly
	inWorld(t, one(c), oneAddress, func(w *world) {
		w.answers(here, inTurn("503 Maintenance", "200 OK"))
		for range 6 {
			time.Sleep(50 * time.Second)
			w.hears("200 OK")
		}
		w.happened("after its maintenance", "500ms ask", "30.5s ask", "30.51s up")
	})
}

func TestADemotedAddressIsTriedLast(t *testing.T) {
	c := Default()
	c.Demote = true
	inWorld(t, one(c), oneAddress, func(w *world) {
		w.until(2 * time.Minute)
		if use := w.links.Use("carrier", place(here)); use != UseLast {
			t.Errorf("its use is %v, want last", use)
		}
	})
}

func TestAnAddressThatIsNeverAskedIsKnownByItsTrafficAlone(t *testing.T) {
	c := Default()
	c.Probe = None
	inWorld(t, one(c), oneAddress, func(w *world) {
		w.until(time.Minute)
		w.happened("nothing")
		w.hears("<")
		w.happened("a request", "1m0s up")
		w.hears("-", "-", "-")
		w.happened("INVITEs without answer", "1m0s down")
		if use := w.links.Use("carrier", place(here)); use != UseNever {
			t.Errorf("its use is %v, want never", use)
		}
		w.until(2 * time.Minute)
		w.happened("calls may try again", "1m30s unknown")
		w.hears("-")
		w.happened("the first that fails is enough", "2m0s down")
		w.until(3 * time.Minute)
		w.hears("180 Ringing")
		w.happened("one answer", "2m30s unknown")
		w.hears("200 OK")
		w.happened("two", "3m0s up")
		w.hears("503 Busy", "503 Busy; 200")
		w.until(5 * time.Minute)
		w.hears("200 OK", "200 OK", "200 OK")
		w.until(10 * time.Minute)
		w.happened("it asks to be left alone", "3m0s down", "6m20s unknown")
		w.hears("200 OK", "200 OK")
		w.happened("it is well", "10m0s up")
		w.hears("-", "-", "-")
		w.until(11 * time.Minute)
		w.hears("<", "<")
		w.happened("its requests count again while calls try it", "10m0s down", "10m30s unknown", "11m0s up")
	})
}

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
