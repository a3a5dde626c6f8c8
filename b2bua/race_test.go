package b2bua_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"sipvigil/store"
)

// TestRaces has the courses of RFC 5407 that concern somebody in the middle.
func TestRaces(t *testing.T) {
	for _, tt := range []struct {
		section, name string
		course        func(w *world)
	}{
		{"3.1.1", "the INVITE is repeated after its 2xx", func(w *world) {
			w.dial()
			w.accept()
			w.alice.sent = 0
			w.alice.say(w.alice.build("INVITE", 1, offer))
			w.alice.nothing()
			w.bob.nothing()
			w.ack()
		}},
		{"3.1.2", "a CANCEL crosses the 2xx", func(w *world) {
			w.dial()
			invite := w.alice.sent
			w.accept()
			w.alice.sent = invite - 1
			w.alice.say(w.alice.build("CANCEL", 1, ""))
			w.alice.next("200 CANCEL")
			w.bob.nothing()
			w.ack()
		}},
		{"3.1.2", "a CANCEL crosses the callee's 2xx", func(w *world) {
			w.dial()
			w.bob.respond(w.invite, 180, "")
			w.alice.next("180 INVITE")
			w.cancel()
			w.bob.respond(w.bob.next("CANCEL"), 481, "")
			w.bob.respond(w.invite, 200, answer)
			w.bob.next("ACK")
			w.bob.respond(w.bob.next("BYE"), 200, "")
			w.alice.nothing()
		}},
		{"3.1.3", "the caller hangs up what rings as it is answered", func(w *world) {
			w.dial()
			w.bob.respond(w.invite, 180, "")
			m := w.alice.next("180 INVITE")
			w.alice.remoteTag, w.alice.target = m.ToTag(), uri(m.Get("Contact"))
			w.accept()
			w.alice.request("BYE", "")
			w.alice.next("200 BYE")
			w.bob.next("ACK")
			w.bob.respond(w.bob.next("BYE"), 200, "")
			w.alice.say(w.alice.build("ACK", 1, "")) // late
			w.alice.nothing()
			w.bob.nothing()
		}},
		{"3.1.4", "a re-INVITE comes instead of the ACK", func(w *world) {
			w.dial()
			w.accept()
			w.alice.reinvite()
			same(w.T, w.bob.next("ACK").Get("CSeq"), "1 ACK")
			m := w.bob.next("INVITE")
			same(w.T, m.Get("CSeq"), "2 INVITE")
			w.alice.say(w.alice.build("ACK", 1, "")) // late
			w.bob.nothing()
			w.bob.respond(m, 200, answer)
			w.alice.next("200 INVITE")
			w.ack()
		}},
		{"3.1.5", "a re-INVITE overtakes the ACK that has the SDP answer", func(w *world) {
			w.alice.request("INVITE", "")
			w.alice.next("100 INVITE")
			w.take(w.bob)
			w.accept()
			w.alice.request("INVITE", offer)
			w.alice.next("491 INVITE")
			w.bob.nothing()
			w.alice.say(w.alice.build("ACK", 1, answer))
			same(w.T, string(w.bob.next("ACK").Body), answer)
		}},
		{"3.1.6", "the callee hangs up before the ACK", func(w *world) {
			w.dial()
			w.accept()
			w.bob.request("BYE", "")
			w.bob.next("200 BYE")
			w.bob.next("ACK")
			w.alice.nothing() // RFC 3261 section 15: not before its ACK
			w.alice.say(w.alice.build("ACK", 1, ""))
			w.alice.respond(w.alice.next("BYE"), 200, "")
		}},
		{"3.2.1", "a BYE crosses ours and the call is over", func(w *world) {
			w.connect()
			w.bob.request("BYE", "")
			w.bob.next("200 BYE")
			bye := w.alice.build("BYE", 2, "")
			w.alice.respond(w.alice.next("BYE"), 200, "")
			w.heard("ending callee-bye", "ended callee-bye confirmed/confirmed")
			w.alice.say(bye)
			w.alice.next("200 BYE")
			pass(32*time.Second - time.Nanosecond)
			w.alice.request("BYE", "")
			w.alice.next("200 BYE")
			pass(time.Nanosecond)
			w.alice.request("BYE", "")
			w.alice.next("481 BYE")
		}},
		{"3.2.1", "other requests of a call that is over", func(w *world) {
			w.connect()
			w.alice.request("BYE", "")
			w.alice.next("200 BYE")
			w.bob.respond(w.bob.next("BYE"), 200, "")
			for _, method := range []string{"OPTIONS", "INFO", "INVITE", "UPDATE"} {
				w.bob.request(method, "")
				w.bob.next("481 " + method)
			}
			w.bob.say(w.bob.build("ACK", 100, ""))
			w.bob.tag = "forged"
			w.bob.request("BYE", "")
			w.bob.next("481 BYE")
		}},
		{"3.2.2", "a re-INVITE crosses the BYE", func(w *world) {
			w.connect()
			w.alice.request("BYE", "")
			w.alice.next("200 BYE")
			w.bob.request("INVITE", offer)
			bye := w.bob.next("BYE")
			w.bob.next("481 INVITE")
			w.bob.respond(bye, 200, "")
			w.alice.nothing()
		}},
		{"3.2.3", "the 2xx to a re-INVITE crosses the BYE", func(w *world) {
			w.connect()
			w.alice.reinvite()
			m := w.bob.next("INVITE")
			w.alice.request("BYE", "")
			w.alice.next("200 BYE")
			w.alice.next("487 INVITE")
			bye := w.bob.next("BYE")
			w.bob.respond(m, 200, answer)
			w.bob.next("ACK")
			w.bob.respond(bye, 200, "")
			w.alice.nothing()
		}},
		{"3.2.4", "the ACK comes after the caller's BYE", func(w *world) {
			w.dial()
			w.accept()
			ack := w.alice.build("ACK", 1, "")
			w.alice.request("BYE", "")
			w.alice.next("200 BYE")
			w.bob.next("ACK")
			w.bob.respond(w.bob.next("BYE"), 200, "")
			pass(time.Second) // nothing waits for the ACK any more
			w.alice.say(ack)
			w.bob.nothing()
			w.alice.nothing()
		}},
		{"3.3.1", "re-INVITEs cross in us: the later one gets 491", func(w *world) {
			w.connect()
			w.alice.reinvite()
			m := w.bob.next("INVITE")
			w.bob.request("INVITE", offer)
			w.bob.next("491 INVITE")
			w.bob.say(w.bob.build("ACK", w.bob.cseq, ""))
			w.bob.respond(m, 200, answer)
			w.alice.next("200 INVITE")
			w.ack()
		}},
		{"3.3.1", "re-INVITEs cross behind us: the 491 goes back", func(w *world) {
			w.connect()
			w.alice.reinvite()
			m := w.bob.next("INVITE")
			w.bob.respond(m, 491, "")
			w.bob.next("ACK")
			w.alice.next("491 INVITE")
			w.bob.reinvite()
			w.alice.next("INVITE")
		}},
		{"3.3.2", "an UPDATE crosses a re-INVITE", func(w *world) {
			w.connect()
			w.alice.reinvite()
			m := w.bob.next("INVITE")
			w.bob.request("UPDATE", offer)
			w.bob.next("491 UPDATE")
			w.alice.request("UPDATE", offer)
			retry(w, w.alice.next("500 UPDATE").Get("Retry-After"))
			w.bob.request("UPDATE", "") // changes nothing of the session
			w.alice.respond(w.alice.next("UPDATE"), 200, "")
			w.bob.next("200 UPDATE")
			w.bob.respond(m, 183, answer, "RSeq: 1", "Require: 100rel")
			w.alice.next("183 INVITE")
			w.bob.request("UPDATE", offer) // the offer of the re-INVITE is answered
			w.alice.next("UPDATE")
		}},
		{"3.3.2", "a re-INVITE crosses an UPDATE", func(w *world) {
			w.connect()
			w.alice.request("UPDATE", offer)
			m := w.bob.next("UPDATE")
			w.bob.request("INVITE", offer)
			w.bob.next("491 INVITE")
			w.bob.respond(m, 200, answer)
			w.alice.next("200 UPDATE")
			w.bob.reinvite()
			w.alice.next("INVITE")
		}},
		{"3.3.3", "a REFER crosses the BYE", func(w *world) {
			w.connect()
			w.alice.request("BYE", "")
			w.alice.next("200 BYE")
			w.bob.request("REFER", "", "Refer-To: <sip:carol@example.com>")
			bye := w.bob.next("BYE")
			w.bob.next("481 REFER")
			w.bob.respond(bye, 200, "")
			w.alice.nothing()
		}},
	} {
		t.Run(tt.section+" "+tt.name, func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				tt.course(w)
				w.agent.Release(w.id, store.End{Reason: store.Operator}) // if it goes on
				for range 2 {
					pass(2 * time.Minute)
					w.alice.all()
					w.bob.all()
				}
				same(w.T, w.agent.Left(), "")
			})
		})
	}
}

func retry(w *world, after string) {
	w.Helper()
	if n, err := strconv.Atoi(after); err != nil || n < 0 || n > 10 {
		w.Errorf("Retry-After: %q, want 0 to 10", after)
	}
}

func TestUpdatesOneOfEachSideAndOneWithAnOffer(t *testing.T) {
	for _, tt := range []struct {
		first, firstBody, second, body, want string
	}{
		{"alice", "", "alice", "", "500"},
		{"alice", offer, "alice", offer, "500"},
		{"alice", "", "bob", "", ""},
		{"alice", offer, "bob", "", ""},
		{"alice", "", "bob", offer, ""},
		{"alice", offer, "bob", offer, "491"},
		{"bob", offer, "alice", offer, "491"},
	} {
		t.Run(fmt.Sprint(tt), func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				w.connect()
				who := map[string]*phone{"alice": w.alice, "bob": w.bob}
				other := map[string]*phone{"alice": w.bob, "bob": w.alice}
				who[tt.first].request("UPDATE", tt.firstBody)
				m := other[tt.first].next("UPDATE")
				who[tt.second].request("UPDATE", tt.body)
				if tt.want == "" {
					other[tt.second].next("UPDATE")
				} else {
					res := who[tt.second].next(tt.want + " UPDATE")
					if tt.want == "500" {
						retry(w, res.Get("Retry-After"))
					}
				}
				other[tt.first].respond(m, 200, "")
				who[tt.first].next("200 UPDATE")
				who[tt.first].request("UPDATE", tt.firstBody)
				other[tt.first].next("UPDATE")
			})
		})
	}
}

func TestAReliableProvisionalResponseToAReinviteMovesTheTargets(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		w.alice.user, w.bob.user = "alice2", "bob2"
		w.alice.reinvite()
		m := w.bob.next("INVITE")
		w.bob.respond(m, 183, "")
		w.alice.next("183 INVITE")
		same(w.T, w.target(store.Caller)+" "+w.target(store.Callee), "sip:alice@127.0.0.1:5071 sip:bob@127.0.0.1:5072")
		w.bob.respond(m, 183, "", "RSeq: 1", "Require: 100rel")
		w.alice.next("183 INVITE")
		same(w.T, w.target(store.Caller)+" "+w.target(store.Callee), "sip:alice2@127.0.0.1:5071 sip:bob2@127.0.0.1:5072")
		w.bob.respond(m, 488, "") // RFC 6141 section 4.3: they stay
		w.alice.next("488 INVITE")
		same(w.T, w.target(store.Caller)+" "+w.target(store.Callee), "sip:alice2@127.0.0.1:5071 sip:bob2@127.0.0.1:5072")
	})
}
