package b2bua_test

import (
	"testing"
	"time"

	"sipvigil/store"
)

func TestOurReinviteThatCrossesAnotherGivesWay(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		p := w.ours(store.Callee, byReinvite)
		pass(45 * time.Second)
		m := p.next("INVITE")
		w.agent.Probe(w.id, store.Callee, "OPTIONS", time.Second)
		w.heard("probe callee OPTIONS: deferred")
		for _, q := range []*phone{w.bob, w.alice} { // of this leg, or for it
			q.request("INVITE", offer, sdp)
			q.refused("491")
		}
		w.heard("evidence callee: INVITE", "evidence caller: INVITE")
		p.respond(m, 491, "")
		p.next("ACK")
		p.request("INVITE", offer, sdp, timer, "Session-Expires: 90;refresher=uas")
		p.next("100 INVITE")
		theirs := w.alice.next("INVITE")
		w.alice.respond(theirs, 100, "")
		pass(5 * time.Second) // ours is due again, and waits
		p.nothing()
		w.alice.respond(theirs, 200, answer, sdp)
		same(w.T, timerOf(p.next("200 INVITE")), "90;refresher=uas|timer|")
		p.say(p.build("ACK", p.cseq, ""))
		w.alice.next("ACK")
		pass(45*time.Second - time.Millisecond)
		p.nothing()
		pass(time.Millisecond)
		same(w.T, p.next("INVITE").Get("CSeq"), "3 INVITE")
	})
}

func TestOurReinviteAnswersAChallenge(t *testing.T) {
	inWorld(t, withCredentials(t), func(w *world) {
		p := w.ours(store.Callee, byReinvite)
		pass(45 * time.Second)
		m := w.plain(p.next("INVITE"))
		p.respond(m, 180, "")
		p.respond(m, 401, "", wwwSHA)
		p.next("ACK")
		m = p.next("INVITE")
		same(w.T, m.Get("CSeq")+string(m.Body)+" "+w.proven(m, "Authorization", "secret"), "3 INVITE"+offer+" n1 00000001 SHA-256")
		p.respond(m, 180, "")
		p.respond(m, 200, answer, renewed)
		same(w.T, p.next("ACK").Get("Authorization"), m.Get("Authorization"))
		w.heard("evidence callee: 200 INVITE")
		pass(45 * time.Second)
		m = p.next("INVITE")
		same(w.T, m.Get("CSeq")+" "+w.proven(m, "Authorization", "secret"), "4 INVITE n1 00000002 SHA-256")
		p.respond(m, 401, "", wwwSHA) // refused
		p.next("ACK")
		w.heard("evidence callee: 401 INVITE")
		pass(22500 * time.Millisecond)
		p.next("INVITE")
	})
}

func TestARefreshWaitsForAnInviteThatIsOnItsWay(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		p := w.ours(store.Callee, "Allow: UPDATE")
		pass(44 * time.Second)
		w.alice.request("INVITE", offer, sdp)
		w.alice.next("100 INVITE")
		m := p.next("INVITE")
		p.respond(m, 180, "")
		w.alice.next("180 INVITE")
		pass(10 * time.Second)
		p.nothing()
		p.respond(m, 500, "") // at 54 s
		p.next("ACK")
		w.alice.refused("500")
		pass(time.Second)
		same(w.T, p.next("UPDATE").Get("CSeq"), "3 UPDATE")
	})
}

func TestOurReinviteThatOnlyRingsIsCancelled(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		p := w.ours(store.Callee, byReinvite)
		pass(45 * time.Second)
		m := p.next("INVITE")
		p.respond(m, 180, "")
		pass(32*time.Second - time.Millisecond)
		p.nothing()
		pass(time.Millisecond)
		same(w.T, p.next("CANCEL").Get("CSeq"), "2 CANCEL")
		p.respond(m, 487, "")
		p.next("ACK")
		w.heard("evidence callee: 487 INVITE")
		w.alice.nothing()
	})
}

func TestOneRefreshIsOnItsWayAtATime(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		p := w.ours(store.Callee, byReinvite)
		pass(45 * time.Second)
		m := p.next("INVITE")
		p.respond(m, 180, "")
		w.exchange(w.bob, w.alice, "UPDATE", []string{timer, "Session-Expires: 90;refresher=uas"}, nil)
		pass(32 * time.Second)
		cancel := p.next("CANCEL")
		p.respond(cancel, 200, "")
		pass(13 * time.Second) // due again, and the INVITE has no final response
		p.nothing()
		p.respond(m, 487, "")
		p.next("ACK")
		pass(22500 * time.Millisecond) // half of what is left
		p.next("UPDATE")
	})
}

func TestAReleaseOvertakesOurReinvite(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		p := w.ours(store.Callee, byReinvite)
		pass(45 * time.Second)
		m := p.next("INVITE")
		w.alice.request("BYE", "")
		w.alice.next("200 BYE")
		p.respond(p.next("BYE"), 200, "")
		w.heard("ending caller-bye", "ended caller-bye confirmed/confirmed")
		p.respond(m, 200, answer, renewed)
		p.next("ACK")
		pass(time.Hour)
		p.nothing()
		w.heard()
	})
}
