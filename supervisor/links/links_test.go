package links

import (
	"testing"
	"time"
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
