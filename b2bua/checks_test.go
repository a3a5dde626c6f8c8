package b2bua_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"sipvigil/store"
	"sipvigil/test/ua"
	"sipvigil/test/udp"
)

func replaceBranch(text, old, by string) string { return strings.Replace(text, old, by, 1) }

const allowed = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, MESSAGE, NOTIFY, REFER, PRACK, UPDATE, SUBSCRIBE"

func TestOptionsIsAnsweredByUs(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		check := func(m *ua.Message) {
			w.Helper()
			for _, h := range [][2]string{{"Allow", allowed}, {"Accept", "application/sdp, */*"},
				{"Accept-Encoding", "identity"}, {"Accept-Language", "*"}, {"Supported", "100rel, timer"}} {
				same(w.T, m.Get(h[0]), h[1])
			}
		}
		w.alice.target = "sip:" + agentAddr
		w.alice.request("OPTIONS", "")
		m := w.alice.next("200 OPTIONS")
		check(m)
		w.alice.target = ""
		if m.ToTag() == "" {
			w.Error("no To tag")
		}
		w.connect()
		w.alice.request("OPTIONS", "")
		check(w.alice.next("200 OPTIONS"))
		w.bob.request("OPTIONS", "")
		check(w.bob.next("200 OPTIONS"))
		w.alice.nothing()
		w.heard("evidence caller: OPTIONS", "evidence callee: OPTIONS")
	})
}

func TestAnUnknownDialogGets481OnceCallsAreLoaded(t *testing.T) {
	idleWorld(t, func(w *world) {
		w.serve()
		w.alice.remoteTag = "nobody"
		w.alice.request("OPTIONS", "")
		same(w.T, w.alice.next("503 OPTIONS").Get("Retry-After"), "5")
		w.agent.Loaded()
		for _, method := range []string{"OPTIONS", "BYE", "INFO", "INVITE"} {
			w.alice.request(method, "")
			w.alice.next("481 " + method)
		}
		w.alice.request("ACK", "")
		w.alice.nothing()
	})
}

func TestARequestWithForgedTagsOrCallIDGets481(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		honest := *w.alice
		for n, forge := range []func(p *phone){
			func(p *phone) { p.tag = "other" },
			func(p *phone) { p.callID = "other" },
			func(p *phone) { p.remoteTag = w.bob.remoteTag },
		} {
			p := honest
			p.sent += 10 * (n + 1)
			forge(&p)
			p.request("BYE", "")
			p.next("481 BYE")
		}
		w.bob.nothing()
		w.heard()
	})
}

func TestALowerNumberGets500AndChangesNothing(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		w.alice.cseq = 50
		w.alice.request("INFO", "") // 51
		m := w.bob.next("INFO")
		w.bob.respond(m, 200, "")
		w.alice.next("200 INFO")
		w.heard("evidence caller: INFO", "evidence callee: 200 INFO")
		for _, n := range []uint32{1, 50, 51} {
			for _, method := range []string{"INFO", "BYE", "OPTIONS", "INVITE"} {
				w.alice.say(w.alice.build(method, n, ""))
				w.alice.next("500 " + method)
			}
		}
		w.bob.nothing()
		w.heard()
		w.alice.request("INFO", "") // 52
		same(w.T, w.bob.next("INFO").Get("CSeq"), "3 INFO")
		w.heard("evidence caller: INFO")
	})
}

func TestRequestsThatCannotBeServedAreRefused(t *testing.T) {
	line := func(old, by string) func(string) string {
		return func(s string) string { return strings.Replace(s, old, by, 1) }
	}
	tests := []struct {
		name, method string
		change       func(string) string
		want, header string // of the response; header is name: value
	}{
		{"an unknown method", "JUGGLE", line("", ""), "501 JUGGLE", "Allow: " + allowed},
		{"a number that is none", "OPTIONS", line("CSeq: 1 OPTIONS", "CSeq: x OPTIONS"), "", ""},
		{"a method in CSeq that is another", "OPTIONS", line("CSeq: 1 OPTIONS", "CSeq: 1 INFO"), "", ""},
		{"no Contact in INVITE", "INVITE", line("Contact: <sip:alice@127.0.0.1:5071>\r\n", ""), "400 INVITE", ""},
		{"a Contact that is none", "INVITE", line("Contact: <sip:alice@127.0.0.1:5071>", "Contact: <sip:al"), "400 INVITE", ""},
		{"Max-Forwards that is none", "OPTIONS", line("Max-Forwards: 70", "Max-Forwards: many"), "400 OPTIONS", ""},
		{"Max-Forwards above 255", "OPTIONS", line("Max-Forwards: 70", "Max-Forwards: 256"), "400 OPTIONS", ""},
		{"an extension in Require", "OPTIONS", line("sip:bob@example.com SIP/2.0\r\n", "sip:127.0.0.1 SIP/2.0\r\nRequire: 100rel, foo, bar\r\n"), "420 OPTIONS", "Unsupported: foo, bar"},
		{"a scheme that we do not serve", "OPTIONS", line("sip:bob@example.com SIP", "tel:+1 SIP"), "416 OPTIONS", ""},
		{"BYE outside of dialogs", "BYE", line("", ""), "481 BYE", ""},
		{"another version", "OPTIONS", line("SIP/2.0\r\nVia", "SIP/3.0\r\nVia"), "505 OPTIONS", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				w.alice.say(tt.change(w.alice.build(tt.method, 1, "")))
				if tt.want == "" { // its answer cannot be read either
					rawAt(w, "SIP/2.0 400 ")
					return
				}
				m := w.alice.poll()
				if m != nil && what(m) == "100 INVITE" {
					m = w.alice.poll()
				}
				if m == nil || what(m) != tt.want {
					w.Fatalf("got %v, want %s", m, tt.want)
				}
				if name, v, ok := strings.Cut(tt.header, ": "); ok {
					same(w.T, m.Get(name), v)
				}
				w.bob.nothing()
				w.heard()
			})
		})
	}
}

func TestARequestWithoutMandatoryHeadersGets400(t *testing.T) {
	for _, name := range []string{"From", "To", "Call-ID", "CSeq", "Via"} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				var kept []string
				for _, l := range strings.Split(w.alice.build("OPTIONS", 1, ""), "\r\n") {
					if !strings.HasPrefix(l, name+":") {
						kept = append(kept, l)
					}
				}
				w.alice.say(strings.Join(kept, "\r\n"))
				rawAt(w, "SIP/2.0 400 ")
				w.alice.target = "sip:" + agentAddr
				w.alice.request("OPTIONS", "")
				w.alice.next("200 OPTIONS")
			})
		})
	}
}

func TestMaxForwardsThatHasRunOutGets483(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		none := func(s string) string { return strings.Replace(s, "Max-Forwards: 70", "Max-Forwards: 0", 1) }
		w.alice.say(none(w.alice.build("INVITE", 1, "")))
		w.alice.next("100 INVITE")
		w.alice.next("483 INVITE")
		w.bob.nothing()
		pass(time.Minute)
		w.alice.all()

		w.alice.cseq = 1
		w.connect()
		w.alice.cseq++
		w.alice.say(none(w.alice.build("INFO", w.alice.cseq, "")))
		w.alice.next("483 INFO")
		w.bob.nothing()
		w.alice.request("INFO", "")
		same(w.T, w.bob.next("INFO").Get("CSeq"), "2 INFO")
	})
}

func TestAPanicOfTheObserverCostsOneRequest(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.obs.panic = "Started"
		w.alice.request("INVITE", offer)
		w.alice.next("100 INVITE")
		w.alice.next("500 INVITE")
		pass(time.Minute)
		w.alice.all()
		w.bob.nothing()
		for c := range w.agent.Calls {
			w.Errorf("a call is left behind: %+v", c)
		}
		w.obs.heard()
		w.alice.callID, w.alice.remoteTag = "call-2@alice", ""
		w.connect()
		w.obs.panic = "Evidence"
		w.alice.request("INFO", "")
		w.alice.next("500 INFO")
		w.bob.nothing()
		w.alice.request("INFO", "")
		w.bob.respond(w.bob.next("INFO"), 200, "")
		w.alice.next("200 INFO")
		if rec, ok := w.agent.Call(w.id); !ok || rec.State != store.Confirmed {
			w.Errorf("the call is %v", rec.State)
		}
	})
}

// brittle is a socket that breaks its reader when it gets a certain message.
type brittle struct{ *udp.Host }

const breaksReader = "\x00break"

func (b brittle) ReadFrom(to []byte) (int, net.Addr, error) {
	n, from, err := b.Host.ReadFrom(to)
	if string(to[:n]) == breaksReader {
		panic("a message broke its reader")
	}
	return n, from, err
}

func TestAPanicOfAReaderCostsOneMessage(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		for range 3 {
			w.alice.say(breaksReader)
			w.alice.request("INFO", "")
			w.bob.respond(w.bob.next("INFO"), 200, "")
			w.alice.next("200 INFO")
		}
	})
}

func TestAPanicOfTheObserverDoesNotStopARelease(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		w.obs.panic = "Ending"
		w.alice.request("BYE", "")
		w.alice.next("200 BYE")
		w.bob.respond(w.bob.next("BYE"), 200, "")
		w.heard("ending caller-bye", "ended caller-bye confirmed/confirmed")
	})
}
