package b2bua_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"sipvigil/store"
	"sipvigil/test/ua"
)

const (
	timer     = "Supported: timer"
	sdp       = "Content-Type: application/sdp"
	askUAS    = "Session-Expires: 1800;refresher=uas"
	oldExpiry = `SIP;cause=408;text="Session expired", Q.850;cause=102`
)

// timed makes a confirmed call; the caller asks for a session timer with these
// header lines, and the callee answers with those.
func (w *world) timed(asked, answered []string) *ua.Message {
	w.Helper()
	w.dial(asked...)
	m := w.accept(answered...)
	w.ack()
	w.heard("started", "evidence caller: ACK", "confirmed")
	return m
}

// sessions are the session timers of both legs in the record.
func (w *world) sessions() string {
	synctest.Wait()
	rec, _ := w.agent.Call(w.id)
	var all []string
	for _, side := range store.Sides {
		if s := rec.Legs[side].Session; s != (store.Session{}) {
			all = append(all, fmt.Sprintf("%v %v %s", side, s.Interval, s.Refresher))
		}
	}
	return strings.Join(all, ", ")
}

func timerOf(m *ua.Message) string {
	return m.Get("Session-Expires") + "|" + strings.Join(m.Values("Require"), ",") + "|" + strings.Join(m.Values("Min-SE"), ",")
}

func TestWhatBothFarEndsNegotiatePassesThrough(t *testing.T) {
	for _, tt := range []struct {
		asked, answered []string
		got             string // by the caller
		sessions        string
	}{
		{[]string{timer, "Session-Expires: 1800"}, []string{"Session-Expires: 1800;refresher=uac", "Require: timer"},
			"1800;refresher=uac|timer|", "caller 30m0s peer, callee 30m0s other"},
		{[]string{timer, "x: 3600;refresher=uas", "Min-SE: 100"}, []string{"Session-Expires: 200;refresher=uas", "Require: timer"},
			"200;refresher=uas|timer|", "caller 3m20s other, callee 3m20s peer"},
		{[]string{"k: 100rel,timer"}, []string{"Session-Expires: 600;refresher=uac", "Require: timer"},
			"600;refresher=uac|timer|", "caller 10m0s peer, callee 10m0s other"},
		{[]string{timer, "Session-Expires: 1800"}, []string{timer}, "||", ""},
		{[]string{timer}, nil, "||", ""},
		{nil, nil, "||", ""},
	} {
		t.Run(strings.Join(append(tt.asked, tt.answered...), " "), func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				res := w.timed(tt.asked, tt.answered)
				same(w.T, timerOf(res), tt.got)
				same(w.T, w.sessions(), tt.sessions)
				for _, line := range tt.asked {
					if !strings.Contains(w.invite.Raw, "\r\n"+line+"\r\n") {
						w.Errorf("%s did not reach the callee", line)
					}
				}
				for _, side := range store.Sides {
					if diff := cmp.Diff(w.stored().Legs[side].Session, w.rec().Legs[side].Session); diff != "" {
						w.Errorf("%v: not what is stored: %s", side, diff)
					}
				}
			})
		})
	}
}

// stored is the record that the store was given last.
func (w *world) stored() store.Call {
	synctest.Wait()
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	return w.store.saved[w.id]
}

func (w *world) rec() store.Call { rec, _ := w.agent.Call(w.id); return rec }

func TestASideThatTakesNoPartIsSpared(t *testing.T) {
	for _, tt := range []struct {
		asked, answered []string
		got, sessions   string
	}{
		{[]string{timer, "Session-Expires: 1800"}, nil, "1800;refresher=uac|timer|", "caller 30m0s peer"},
		{[]string{timer, "Session-Expires: 1800;refresher=uac"}, nil, "1800;refresher=uac|timer|", "caller 30m0s peer"},
		{[]string{timer, askUAS}, nil, "1800;refresher=uas|timer|", "caller 30m0s self"},
		{nil, []string{"Session-Expires: 1800;refresher=uas", "Require: timer, x", "Require: y"}, "|x,y|", "callee 30m0s peer"},
		{nil, []string{"x: 1800;refresher=uac", "Require: Timer"}, "||", "callee 30m0s self"},
		{nil, []string{timer}, "||", ""},
	} {
		t.Run(strings.Join(append(tt.asked, tt.answered...), " "), func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				same(w.T, timerOf(w.timed(tt.asked, tt.answered)), tt.got)
				same(w.T, w.sessions(), tt.sessions)
			})
		})
	}
}

// exchange has a request of one phone answered by the other and gives both as
// they arrived.
func (w *world) exchange(from, to *phone, method string, asked, answered []string) (*ua.Message, *ua.Message) {
	w.Helper()
	body := ""
	if method == "INVITE" {
		body, asked, answered = offer, append(asked, sdp), append(answered, sdp)
	}
	from.request(method, body, asked...)
	if method == "INVITE" {
		from.next("100 INVITE")
	}
	req := to.next(method)
	to.respond(req, 200, body, answered...)
	res := from.next("200 " + method)
	if method == "INVITE" {
		from.say(from.build("ACK", from.cseq, ""))
		to.next("ACK")
	}
	return req, res
}

func TestA2xxWithoutATimerTurnsItOff(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.timed([]string{timer, "Session-Expires: 90"}, []string{"Session-Expires: 90;refresher=uac"})
		req, _ := w.exchange(w.alice, w.bob, "UPDATE", []string{timer}, []string{timer})
		same(w.T, timerOf(req), "||")
		same(w.T, w.sessions(), "")
		if s := w.stored().Legs[0].Session; s != (store.Session{}) {
			w.Errorf("%+v is stored", s)
		}
		pass(time.Hour)
		w.alice.nothing()
		w.bob.nothing()
	})
}

// refused has a phone take a refusal of the INVITE that it sent last.
func (p *phone) refused(status string) *ua.Message {
	p.t.Helper()
	m := p.next(status + " INVITE")
	p.sent--
	p.say(p.build("ACK", p.cseq, ""))
	return m
}

func TestAnIntervalThatIsTooShortIsRefused(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		short := []string{timer, "Session-Expires: 89"}
		w.alice.request("INVITE", offer, short...)
		w.alice.next("100 INVITE")
		same(w.T, timerOf(w.alice.refused("422")), "||90")
		w.bob.nothing()
		w.heard()

		w.timed([]string{timer, "Session-Expires: 90"}, []string{"Session-Expires: 90;refresher=uac"})
		for _, p := range []*phone{w.alice, w.bob} {
			p.request("UPDATE", "", short...)
			same(w.T, timerOf(p.next("422 UPDATE")), "||90")
			p.request("INVITE", offer, short...)
			same(w.T, timerOf(p.refused("422")), "||90")
		}
		w.alice.nothing()
		w.bob.nothing()
		pass(60 * time.Second) // none of them refreshed anything
		w.over(oldExpiry)
	})
}

func TestAnIntervalOfAProxyIsNotRefused(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.dial("Session-Expires: 30")
		same(w.T, timerOf(w.invite), "30||")
	})
}

func TestA422OfTheFarEndPassesThrough(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.dial(timer, "Session-Expires: 100")
		w.bob.respond(w.invite, 422, "", "Min-SE: 600")
		same(w.T, timerOf(w.alice.next("422 INVITE")), "||600")
		w.bob.next("ACK")
		w.heard("started", "ended callee-rejected(422) /")
		res := w.timed([]string{timer, "Session-Expires: 600", "Min-SE: 600"}, []string{"Session-Expires: 600;refresher=uac", "Require: timer"})
		same(w.T, timerOf(w.invite)+" "+timerOf(res), "600||600 600;refresher=uac|timer|")
		for _, p := range [][2]*phone{{w.alice, w.bob}, {w.bob, w.alice}} {
			p[0].request("UPDATE", "", timer, "Session-Expires: 600")
			p[1].respond(p[1].next("UPDATE"), 422, "", "Min-SE: 700")
			same(w.T, timerOf(p[0].next("422 UPDATE")), "||700")
		}
		same(w.T, w.sessions(), "caller 10m0s peer, callee 10m0s other")
	})
}

// A leg's own timer must survive a request of the side that knows no timers.
func TestARequestOfASideWithoutTimersCarriesTheTimerOfTheOtherLeg(t *testing.T) {
	for _, method := range []string{"INVITE", "UPDATE"} {
		for _, tt := range []struct{ asked, keep, left string }{
			{askUAS, "1800;refresher=uac", "caller 30m0s self"},
			{"Session-Expires: 1800", "1800;refresher=uas", "caller 30m0s peer"},
		} {
			t.Run(method+" "+tt.asked, func(t *testing.T) {
				inWorld(t, nil, func(w *world) {
					w.timed([]string{timer, tt.asked, "Allow: INVITE, UPDATE", "Min-SE: 100"}, nil)
					req, res := w.exchange(w.bob, w.alice, method, nil, []string{"Session-Expires: " + tt.keep, "Require: timer"})
					same(w.T, timerOf(req)+req.Get("Supported"), tt.keep+"||100timer")
					same(w.T, timerOf(res), "||")
					same(w.T, w.sessions(), tt.left)

					// It is sent again with what a 422 asks for, with the next number.
					w.bob.request(method, "")
					if method == "INVITE" {
						w.bob.next("100 INVITE")
					}
					for _, p := range []string{"1800", "2000"} {
						req = w.alice.next(method)
						same(w.T, req.Get("Session-Expires"), p+tt.keep[4:])
						if p == "1800" {
							w.alice.respond(req, 422, "", "Min-SE: 2000")
							if method == "INVITE" {
								w.alice.next("ACK")
							}
						}
					}
					same(w.T, req.Get("CSeq")+timerOf(req), "3 "+method+"2000"+tt.keep[4:]+"||2000")
					w.alice.respond(req, 422, "", "Min-SE: 3000")
					w.bob.next("422 " + method)
				})
			})
		}
	}
}
