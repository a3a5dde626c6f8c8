package b2bua_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sipvigil/store"
	"sipvigil/test/ua"
)

// old is what a phone of RFC 2543 would write: no branch, no tags of its own,
// no Max-Forwards, no Contact.
func old(message string) string {
	var kept []string
	for line := range strings.SplitAfterSeq(message, "\r\n") {
		switch {
		case strings.HasPrefix(line, "Max-Forwards:"), strings.HasPrefix(line, "Contact:"):
			continue
		case strings.HasPrefix(line, "Via:"):
			line, _, _ = strings.Cut(line, ";branch")
			line += "\r\n"
		}
		kept = append(kept, line)
	}
	return strings.Join(kept, "")
}

func TestAWholeCallOfRFC2543Peers(t *testing.T) {
	for _, end := range []string{"the caller hangs up", "the callee hangs up", "we release it", "the caller gives up"} {
		t.Run(end, func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				w.alice.tag, w.bob.tag = "", ""
				w.alice.cseq = 1
				invite := old(w.alice.build("INVITE", 1, offer))
				w.alice.say(invite)
				w.alice.next("100 INVITE")
				w.take(w.bob)
				same(w.T, fmt.Sprint(w.invite.Get("Max-Forwards"), w.invite.Branch() != ""), "70true")
				w.bob.respond(w.invite, 180, "")
				w.alice.next("180 INVITE")
				if end == "the caller gives up" {
					w.alice.say(swapMethod(invite, "CANCEL"))
					w.alice.next("200 CANCEL")
					w.alice.next("487 INVITE")
					w.alice.say(swapMethod(invite, "ACK"))
					w.cancelled()
					w.heard("started", "ended caller-cancel(487) /")
					pass(time.Minute)
					same(w.T, w.agent.Left(), "")
					return
				}
				w.accept()
				w.alice.say(old(w.alice.build("ACK", 1, "")))
				w.bob.next("ACK")
				w.heard("started", "evidence caller: ACK", "confirmed")

				w.agent.Probe(w.id, store.Caller, "OPTIONS", time.Second)
				m := w.alice.next("OPTIONS")
				same(w.T, m.ToTag()+m.Get("CSeq"), "1 OPTIONS")
				w.alice.respond(m, 200, "")
				w.agent.Probe(w.id, store.Callee, "OPTIONS", time.Second)
				m = w.bob.next("OPTIONS")
				same(w.T, m.ToTag()+m.Get("CSeq"), "2 OPTIONS")
				w.bob.respond(m, 200, "")
				w.heard("probe caller OPTIONS: answered 200 after 0s", "probe callee OPTIONS: answered 200 after 0s")

				hang := func(p, other *phone) {
					p.cseq++
					p.say(old(p.build("BYE", p.cseq, "")))
					p.next("200 BYE")
					other.respond(other.next("BYE"), 200, "")
				}
				switch end {
				case "the caller hangs up":
					hang(w.alice, w.bob)
					w.heard("ending caller-bye", "ended caller-bye confirmed/confirmed")
				case "the callee hangs up":
					hang(w.bob, w.alice)
					w.heard("ending callee-bye", "ended callee-bye confirmed/confirmed")
				default:
					w.release(store.End{Reason: store.Operator})
					var byes []*ua.Message
					for _, p := range []*phone{w.alice, w.bob} {
						byes = append(byes, p.next("BYE"))
						p.respond(byes[len(byes)-1], 200, "")
					}
					same(w.T, byes[0].ToTag()+byes[1].ToTag(), "")
					w.heard("ending operator", "ended operator confirmed/confirmed")
				}
				pass(time.Minute)
				same(w.T, w.agent.Left(), "")
			})
		})
	}
}
