package b2bua_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"sipvigil/store"
)

const (
	sessionA  = "ab30317f1a784dc48ff824d0d3715d86"
	sessionB  = "47755a9de7794ba387653f2099600ef2"
	sessionB2 = "0123456789abcdef0123456789abcdef"
	noSession = "00000000000000000000000000000000"
)

// made is the UUID of a far end that sends none: RFC 7989 section 4.1.
func made(p *phone) string {
	space := uuid.MustParse("a58587da-c93d-11e2-ae90-f4ea67801e29")
	return strings.ReplaceAll(uuid.NewSHA1(space, []byte(p.callID+p.tag)).String(), "-", "")
}

func TestSessionIDIsPassedOrMade(t *testing.T) {
	for _, tt := range []struct {
		name             string
		alice, bob, info string // Session-ID of alice's INVITE, of bob's 200, of alice's INFO
		invite, ok, next string // as they arrive
		own              string // in our own OPTIONS to bob
	}{
		{"both have one", sessionA + ";remote=" + noSession, sessionB + ";x;remote=" + sessionA, sessionA + ";remote=" + sessionB,
			sessionA + ";remote=" + noSession, sessionB + ";x;remote=" + sessionA, sessionA + ";remote=" + sessionB,
			sessionA + ";remote=" + sessionB},
		{"only the caller has one", sessionA + ";remote=" + noSession, "", sessionA + ";remote=BOB",
			sessionA + ";remote=" + noSession, "BOB;remote=" + sessionA, sessionA + ";remote=BOB",
			sessionA + ";remote=BOB"},
		{"only the callee has one", "", sessionB + ";remote=ALICE", "",
			"ALICE;remote=" + noSession, sessionB + ";remote=ALICE", "ALICE;remote=" + sessionB,
			"ALICE;remote=" + sessionB},
		{"none has one", "", "", "", "ALICE;remote=" + noSession, "BOB;remote=ALICE", "ALICE;remote=BOB", "ALICE;remote=BOB"},
		{"what is broken counts as none", "x" + sessionA, sessionB + "0;remote=" + noSession, sessionA + ";remote=x",
			"ALICE;remote=" + noSession, "BOB;remote=ALICE", "ALICE;remote=BOB", "ALICE;remote=BOB"},
		{"one who has not heard of the peer's", sessionA + ";remote=" + noSession, sessionB + ";remote=" + sessionA, sessionA + ";remote=" + noSession,
			sessionA + ";remote=" + noSession, sessionB + ";remote=" + sessionA, sessionA + ";remote=" + sessionB,
			sessionA + ";remote=" + sessionB},
		{"RFC 7329 on both sides", sessionA, sessionA, sessionA, sessionA, sessionA, sessionA, sessionA},
		{"RFC 7329 that gives back both", sessionA + ";remote=" + noSession, sessionA + ";remote=" + noSession, sessionA + ";remote=" + noSession,
			sessionA + ";remote=" + noSession, sessionA + ";remote=" + noSession, sessionA + ";remote=" + noSession, sessionA},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				named := func(s string) string {
					return strings.NewReplacer("ALICE", made(w.alice), "BOB", made(w.bob)).Replace(s)
				}
				line := func(v string) string {
					if v == "" {
						return ""
					}
					return "Session-ID: " + named(v)
				}
				w.dial(line(tt.alice))
				same(w.T, w.invite.Get("Session-ID"), named(tt.invite))
				same(w.T, w.accept(line(tt.bob)).Get("Session-ID"), named(tt.ok))
				w.ack()
				w.alice.request("INFO", "", line(tt.info))
				info := w.bob.next("INFO")
				same(w.T, info.Get("Session-ID"), named(tt.next))
				w.bob.respond(info, 200, "")
				w.alice.next("200 INFO")
				w.agent.Probe(w.id, store.Callee, "OPTIONS", time.Second)
				same(w.T, w.bob.next("OPTIONS").Get("Session-ID"), named(tt.own))
				w.agent.Release(w.id, store.End{Reason: store.Operator})
				same(w.T, w.bob.next("BYE").Get("Session-ID"), named(tt.own))
				bye := w.alice.next("BYE").Get("Session-ID")
				if local, remote, ok := strings.Cut(named(tt.own), ";remote="); ok {
					same(w.T, bye, remote+";remote="+local)
				} else {
					same(w.T, bye, local)
				}
			})
		})
	}
}

func TestANewSessionUUIDCountsOnceItIsAccepted(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.dial("Session-ID: " + sessionA + ";remote=" + noSession)
		w.accept("Session-ID: " + sessionB + ";remote=" + sessionA)
		w.ack()
		probe := func() string {
			w.agent.Probe(w.id, store.Caller, "OPTIONS", time.Second)
			m := w.alice.next("OPTIONS")
			w.alice.respond(m, 200, "")
			return m.Get("Session-ID")
		}
		w.bob.request("UPDATE", "", "Session-ID: "+sessionB2+";remote="+sessionA)
		w.alice.respond(w.alice.next("UPDATE"), 491, "", "Session-ID: "+sessionA+";remote="+sessionB2)
		same(w.T, w.bob.next("491 UPDATE").Get("Session-ID"), sessionA+";remote="+sessionB2)
		same(w.T, probe(), sessionB+";remote="+sessionA)
		w.bob.request("UPDATE", "", "Session-ID: "+sessionB2+";remote="+sessionA)
		w.done(w.alice.next("UPDATE"), w.alice, w.bob, 200)
		same(w.T, probe(), sessionB2+";remote="+sessionA)
		w.alice.request("INFO", "", "Session-ID: "+sessionA+";remote="+sessionB)
		m := w.bob.next("INFO")
		same(w.T, m.Get("Session-ID"), sessionA+";remote="+sessionB2)
		w.done(m, w.bob, w.alice, 500, "Session-ID: "+sessionB+";remote="+sessionA)
		same(w.T, probe(), sessionB+";remote="+sessionA) // that of a response counts at once
		w.bob.reinvite()
		w.alice.respond(w.alice.next("INVITE"), 200, answer)
		w.bob.next("200 INVITE")
		w.bob.say(w.bob.build("ACK", w.bob.cseq, "", "Session-ID: "+sessionB2+";remote="+sessionA))
		same(w.T, w.alice.next("ACK").Get("Session-ID"), sessionB2+";remote="+sessionA)
		same(w.T, probe(), sessionB2+";remote="+sessionA)
	})
}

func TestOurOwnAnswersAndCancelNameTheSession(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.dial("Session-ID: " + sessionA + ";remote=" + noSession)
		w.bob.respond(w.invite, 180, "", "Session-ID: "+sessionB+";remote="+sessionA)
		same(w.T, w.alice.next("180 INVITE").Get("Session-ID"), sessionB+";remote="+sessionA)
		pass(3 * time.Minute)
		same(w.T, w.bob.next("CANCEL").Get("Session-ID"), sessionA+";remote="+noSession)
		same(w.T, w.alice.next("408 INVITE").Get("Session-ID"), sessionB+";remote="+sessionA)
	})
	inWorld(t, nil, func(w *world) {
		w.connect()
		w.bob.request("OPTIONS", "")
		same(w.T, w.bob.next("200 OPTIONS").Get("Session-ID"), made(w.alice)+";remote="+made(w.bob))
		w.bob.request("BYE", "")
		same(w.T, w.bob.next("200 BYE").Get("Session-ID"), made(w.alice)+";remote="+made(w.bob))
	})
}

func TestASessionThatWasForgottenIsNotNamed(t *testing.T) {
	idleWorld(t, func(w *world) {
		w.serve()
		w.restore(w.remembered(store.Confirmed))
		w.agent.Probe(w.id, store.Callee, "OPTIONS", time.Second)
		same(w.T, w.bob.next("OPTIONS").Get("Session-ID"), "")
		w.alice.request("INFO", "", "Session-ID: "+sessionA+";remote="+sessionB)
		same(w.T, w.bob.next("INFO").Get("Session-ID"), sessionA+";remote="+sessionB)
		w.agent.Probe(w.id, store.Callee, "OPTIONS", time.Second)
		same(w.T, w.bob.next("OPTIONS").Get("Session-ID"), "") // bob's may be any
	})
}

func TestWithoutATagThereIsNoSessionUUID(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.alice.tag = ""
		w.dial()
		same(w.T, w.invite.Get("Session-ID"), "")
		w.bob.tag = ""
		w.bob.respond(w.invite, 183, "")
		same(w.T, w.alice.next("183 INVITE").Get("Session-ID"), "")
	})
}
