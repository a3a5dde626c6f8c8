package b2bua_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"sipvigil/store"
)

// release releases the call.
func (w *world) release(end store.End) {
	w.Helper()
	if !w.agent.Release(w.id, end) {
		w.Fatal("Release found no call")
	}
}

func TestTheByesSayWhyTheCallIsReleased(t *testing.T) {
	const gone = `SIP;cause=481;text="Call/Transaction Does Not Exist", Q.850;cause=41`
	const silent = `SIP;cause=408;text="No answer inside the dialog", Q.850;cause=102`
	for _, tt := range []struct {
		end  store.End
		want string
	}{
		{store.End{Reason: "caller-gone", Status: 481}, gone},
		{store.End{Reason: "callee-gone"}, gone},
		{store.End{Reason: "caller-silent", Status: 408}, silent},
		{store.End{Reason: "callee-silent", Status: 408}, silent},
		{store.End{Reason: store.Operator}, `Q.850;cause=31;text="Released by operator"`},
		{store.End{Reason: store.NoAck, Status: 408}, `SIP;cause=408;text="ACK did not come", Q.850;cause=102`},
		{store.End{Reason: store.SessionExpired, Status: 408}, `SIP;cause=408;text="Session expired", Q.850;cause=102`},
		{store.End{Reason: store.MaxDuration}, `Q.850;cause=102;text="Maximum duration of a call"`},
		{store.End{Reason: "else"}, ""},
	} {
		t.Run(string(tt.end.Reason), func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				w.connect()
				w.release(tt.end)
				a, b := w.alice.next("BYE"), w.bob.next("BYE")
				same(w.T, a.Get("Reason"), tt.want)
				same(w.T, b.Get("Reason"), tt.want)
				same(w.T, a.Get("CSeq")+", "+b.Get("CSeq"), "1 BYE, 2 BYE")
				if rec := w.store.saved[w.id]; rec.State != store.Ending || rec.End.Reason != tt.end.Reason {
					w.Errorf("saved: %+v", rec)
				}
				if w.agent.Release(w.id, tt.end) {
					w.Error("a second Release began")
				}
				w.alice.respond(a, 200, "")
				w.bob.respond(b, 200, "")
				w.heard("ending "+reason(tt.end), "ended "+reason(tt.end)+" confirmed/confirmed")
				pass(time.Minute)
				w.alice.nothing()
				w.bob.nothing()
			})
		})
	}
}

func TestEachLegsReleaseHasItsOutcome(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		w.release(store.End{Reason: store.Operator})
		w.bob.respond(w.bob.next("BYE"), 481, "")
		pass(32*time.Second - time.Millisecond)
		w.heard("ending operator")
		if rec, _ := w.agent.Call(w.id); rec.End.Released != [2]store.Outcome{"", store.ReleaseAlreadyGone} {
			w.Errorf("released: %v", rec.End.Released)
		}
		pass(time.Millisecond)
		w.heard("ended operator unconfirmed/already-gone")
		w.bob.nothing()
		same(w.T, strings.Join(w.alice.all(), " "), "BYE BYE BYE BYE BYE BYE BYE BYE BYE BYE BYE")
	})
}

func TestAByeThatGets500IsSentOnceMoreWithTheNextNumber(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		w.release(store.End{Reason: store.Operator})
		w.alice.respond(w.alice.next("BYE"), 200, "")
		w.bob.respond(w.bob.next("BYE"), 500, "")
		bye := w.bob.next("BYE")
		same(w.T, bye.Get("CSeq"), "3 BYE")
		w.bob.respond(bye, 500, "")
		w.bob.nothing()
		w.heard("ending operator", "ended operator confirmed/unconfirmed")
	})
}

func TestByesThatCrossEndTheCallAtOnce(t *testing.T) {
	for _, first := range []string{"alice", "bob"} {
		for _, status := range []int{0, 200, 481} { // how the second answers our BYE
			t.Run(fmt.Sprintf("%s first, BYE answered %d", first, status), func(t *testing.T) {
				inWorld(t, nil, func(w *world) {
					w.connect()
					a, b, by := w.alice, w.bob, "caller-bye"
					if first == "bob" {
						a, b, by = b, a, "callee-bye"
					}
					a.request("BYE", "")
					a.next("200 BYE")
					bye := b.next("BYE")
					b.request("BYE", "")
					b.next("200 BYE")
					w.heard("ending "+by, "ended "+by+" confirmed/confirmed")
					if status != 0 {
						b.respond(bye, status, "")
					}
					pass(40 * time.Second)
					w.heard()
				})
			})
		}
	}
}

func TestByesOfBothPhonesAtTheSameInstantEndTheCall(t *testing.T) {
	for range 50 {
		inWorld(t, nil, func(w *world) {
			w.connect()
			w.alice.request("BYE", "")
			w.bob.request("BYE", "")
			pass(time.Second)
			if len(w.obs.ended) != 1 || w.obs.ended[0].End.Released != [2]store.Outcome{"confirmed", "confirmed"} {
				w.Fatalf("ended: %+v, heard %q", w.obs.ended, w.obs.heard())
			}
		})
	}
}

func TestAByeThatCrossesOurReleaseIsAnsweredAndCounts(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		w.release(store.End{Reason: store.Operator})
		w.alice.next("BYE")
		w.bob.next("BYE")
		w.alice.request("BYE", "")
		w.alice.next("200 BYE")
		w.heard("ending operator")
		w.bob.request("BYE", "")
		w.bob.next("200 BYE")
		w.heard("ended operator confirmed/confirmed")
	})
}

func TestA481ThatOvertookABYEWasOfAPhoneThatHungUp(t *testing.T) {
	for _, first := range []string{"caller", "callee"} {
		t.Run(first, func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				w.connect()
				a, b := w.alice, w.bob
				if first == "callee" {
					a, b = b, a
				}
				gone, by := store.Reason(first+"-gone"), first+"-bye"
				w.release(store.End{Reason: gone, Status: 481, Text: "481 OPTIONS"})
				a.next("BYE")
				b.respond(b.next("BYE"), 200, "")
				w.heard("ending " + string(gone) + "(481)")
				a.request("BYE", "")
				a.next("200 BYE")
				w.heard("ended " + by + " confirmed/confirmed")
				if end := w.obs.ended[0].End; end.Status != 0 || end.Text != "" {
					w.Errorf("ended: %+v", end)
				}
			})
		})
	}
	inWorld(t, nil, func(w *world) { // the other one's BYE says nothing of it
		w.connect()
		w.release(store.End{Reason: store.Caller.Gone(), Status: 481})
		w.alice.respond(w.alice.next("BYE"), 481, "")
		w.bob.next("BYE")
		w.bob.request("BYE", "")
		w.bob.next("200 BYE")
		w.heard("ending caller-gone(481)", "ended caller-gone(481) already-gone/confirmed")
	})
}

func TestOtherRequestsDuringTheReleaseGet481(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		w.release(store.End{Reason: store.Operator})
		w.alice.next("BYE")
		bye := w.bob.next("BYE")
		for _, method := range []string{"INFO", "OPTIONS", "UPDATE", "INVITE"} {
			w.alice.request(method, "")
			w.alice.next("481 " + method)
			w.bob.request(method, "")
			w.bob.next("481 " + method)
		}
		w.bob.respond(bye, 200, "")
		w.agent.Probe(w.id, store.Caller, "OPTIONS", time.Second)
		w.heard("ending operator", "probe caller OPTIONS: no call")
	})
}

func TestAReleaseBeforeTheAckWaitsForTheCallersAck(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.dial()
		w.accept()
		w.release(store.End{Reason: store.Operator})
		w.bob.next("ACK")
		w.bob.respond(w.bob.next("BYE"), 200, "")
		w.alice.nothing()
		w.alice.say(w.alice.build("ACK", 1, ""))
		w.alice.respond(w.alice.next("BYE"), 200, "")
		w.heard("started", "ending operator", "ended operator confirmed/confirmed")
		pass(time.Minute)
		w.alice.nothing()
		w.bob.nothing()
	})
}

func TestACalleeThatHangsUpBeforeTheAckIsFollowedByTheCaller(t *testing.T) {
	for _, name := range []string{"after the ACK", "without any ACK", "with a BYE of its own"} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				w.dial()
				w.accept()
				w.bob.request("BYE", "")
				w.bob.next("200 BYE")
				w.bob.next("ACK")
				w.heard("started", "ending callee-bye")
				switch name {
				case "after the ACK":
					w.alice.nothing()
					w.alice.say(w.alice.build("ACK", 1, ""))
					w.alice.respond(w.alice.next("BYE"), 200, "")
				case "without any ACK":
					pass(32 * time.Second)
					var bye bool
					for m := w.alice.poll(); m != nil; m = w.alice.poll() {
						if bye = m.Method == "BYE"; bye {
							w.alice.respond(m, 200, "")
						}
					}
				case "with a BYE of its own":
					w.alice.request("BYE", "")
					w.alice.next("200 BYE")
				}
				w.heard("ended callee-bye confirmed/confirmed")
				pass(time.Minute)
				w.alice.nothing()
			})
		})
	}
}

func TestAReleaseDuringAReinviteAnswersItWith487(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		w.alice.reinvite()
		m := w.bob.next("INVITE")
		w.release(store.End{Reason: store.Operator})
		w.alice.next("487 INVITE")
		w.alice.respond(w.alice.next("BYE"), 200, "")
		bye := w.bob.next("BYE")
		w.bob.respond(m, 200, answer) // crossed: it has to be acknowledged all the same
		w.bob.next("ACK")
		w.bob.respond(bye, 200, "")
		w.heard("evidence caller: INVITE", "ending operator", "ended operator confirmed/confirmed")
	})
}

func TestAByeOfTheCallerWhileItRingsGivesTheCallUp(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.dial()
		w.bob.respond(w.invite, 180, "")
		m := w.alice.next("180 INVITE")
		w.alice.remoteTag, w.alice.target = m.ToTag(), uri(m.Get("Contact"))
		w.alice.request("BYE", "")
		w.alice.next("200 BYE")
		w.alice.next("487 INVITE")
		w.cancelled()
		w.heard("started", "ended caller-bye(487) /")
	})
}

// One phone may be out of reach for longer than that, and the other one, told
// 408, would hang up.
func TestAReinviteWithoutAnyAnswerEndsNoCall(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		w.alice.reinvite()
		pass(32*time.Second - time.Millisecond)
		w.alice.nothing()
		pass(time.Millisecond)
		w.alice.next("504 INVITE")
		w.bob.all()
		w.alice.reinvite()
		w.bob.respond(w.bob.next("INVITE"), 200, answer)
		w.alice.next("200 INVITE")
	})
}

func TestAReinviteThatIsNeverAnsweredIsGivenUp(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		w.alice.reinvite()
		m := w.bob.next("INVITE")
		w.bob.respond(m, 180, "")
		w.alice.next("180 INVITE")
		pass(3*time.Minute - time.Millisecond)
		w.alice.nothing()
		w.bob.nothing()
		pass(time.Millisecond)
		w.bob.next("CANCEL")
		pass(32*time.Second - time.Millisecond)
		w.alice.nothing()
		pass(time.Millisecond)
		w.alice.next("487 INVITE")
		w.obs.heard()
		w.bob.all()
		w.agent.Probe(w.id, store.Callee, "OPTIONS", time.Second)
		same(w.T, w.bob.next("OPTIONS").Get("CSeq"), "3 OPTIONS")
	})
}

func TestACallAtRestHasNoGoroutine(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		before := atWork()
		w.connect()
		pass(2 * time.Minute)
		if got := atWork(); got != before {
			w.Errorf("%d goroutines, %d before the call", got, before)
		}
		w.alice.reinvite()
		w.bob.respond(w.bob.next("INVITE"), 180, "")
		w.release(store.End{Reason: store.Operator})
		pass(2 * time.Minute)
		if got := atWork(); got != before {
			w.Errorf("%d goroutines after the release, %d before the call", got, before)
		}
	})
}

// atWork is how many goroutines are inside package b2bua and do not only wait
// for work.
func atWork() int {
	buf := make([]byte, 1<<20)
	n := 0
	for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if _, inside, ok := strings.Cut(stack, "sipvigil/b2bua.(*"); ok && !strings.HasPrefix(inside, "tasks).work(") {
			n++
		}
	}
	return n
}
