package test

import (
	"net/url"
	"strings"
	"testing"

	"sipvigil/store/storetest"
	"sipvigil/test/ua"
)

// threesome is alice, bob and carol, who call each other through a daemon that
// probes their calls.
type threesome struct {
	d                 *sipvigil
	alice, bob, carol *ua.Phone
	legs              []*ua.Dialog
}

func three(t *testing.T, transport string) *threesome {
	t.Helper()
	redisURL, _ := storetest.Redis(t)
	s := &threesome{d: serve(t, redisURL),
		alice: phone(t, "alice", transport), bob: phone(t, "bob", transport), carol: phone(t, "carol", transport)}
	t.Cleanup(func() {
		for _, leg := range s.legs {
			if err := leg.CheckCSeq(); err != nil {
				t.Error(err)
			}
		}
	})
	return s
}

// call sets up a call to a URI through sipvigil.
func (s *threesome) call(t *testing.T, from, to *ua.Phone, uri string, headers ...ua.Header) (caller, callee *ua.Dialog, invite *ua.Message) {
	t.Helper()
	ctx := limit(t, patience)
	target := "sip:" + s.d.udp
	if strings.HasSuffix(from.URI(), ";transport=tcp") {
		target = "sip:" + s.d.tcp + ";transport=tcp"
	}
	call := from.Dial(target, uri, ua.Offer{SDP: ua.SDP(40000), Headers: headers})
	in, err := to.Invited(ctx)
	if err != nil {
		t.Fatalf("no call came: %v, %v", err, waited(call))
	}
	in.Ring(180)
	if callee, err = in.Accept(ua.SDP(40002)); err != nil {
		t.Fatal(err)
	}
	if caller, err = call.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	select {
	case <-callee.Confirmed():
	case <-ctx.Done():
		t.Fatal("the callee saw no ACK")
	}
	s.legs = append(s.legs, caller, callee)
	return caller, callee, in.Request
}

// demand sends a request and demands an answer.
func demand(t *testing.T, from *ua.Dialog, status int, method, body string, headers ...ua.Header) {
	t.Helper()
	res, err := from.Request(limit(t, patience), method, body, headers...)
	if err != nil || res.Status != status {
		t.Fatalf("%s: %v, %v, want %d", method, res, err, status)
	}
}

// progress has the transferee tell how far the transfer is, and demands that
// the transferor, who may have hung up, got it.
func progress(t *testing.T, transferee, transferor *ua.Dialog, frag, state string) {
	t.Helper()
	demand(t, transferee, 200, "NOTIFY", frag, ua.H("Event", "refer"), ua.H("Subscription-State", state), ua.H("Content-Type", "message/sipfrag;version=2.0"))
	got := requests(transferor, "NOTIFY")
	if len(got) == 0 || string(got[len(got)-1].Message.Body) != frag {
		t.Fatalf("the transferor got %v, want %q", got, frag)
	}
}

// RFC 5359 section 2.4: the transferor hangs up as soon as the transfer is
// accepted, and hears of it all the same.
func TestABlindTransferIsReportedToWhoHasHungUp(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := three(t, transport)
			a1, b1, _ := s.call(t, s.alice, s.bob, s.bob.URI())
			probed(t, a1, 1)
			s.alice.AnswerUnknown("NOTIFY", 200, "")
			demand(t, a1, 202, "REFER", "", ua.H("Refer-To", "<"+s.carol.URI()+">"), ua.H("Referred-By", "<"+s.alice.URI()+">"))
			referTo := requests(b1, "REFER")[0].Message.Get("Refer-To")
			if referTo != "<"+s.carol.URI()+">" {
				t.Errorf("Refer-To: %s", referTo)
			}
			progress(t, b1, a1, "SIP/2.0 100 Trying\r\n", "active;expires=60")
			hangUp(t, a1, b1)
			s.terminatedAll(t, a1)
			progress(t, b1, a1, "SIP/2.0 180 Ringing\r\n", "active;expires=50")
			b2, c2, _ := s.call(t, s.bob, s.carol, strings.Trim(referTo, "<>"), ua.H("Referred-By", "<"+s.alice.URI()+">"))
			progress(t, b1, a1, "SIP/2.0 200 OK\r\n", "terminated;reason=noresource")
			eventually(t, "the subscription is over", func() bool { // a Redis that is young may lack calls: 503 until it is older
				res, err := b1.Request(limit(t, patience), "NOTIFY", "", ua.H("Event", "refer"), ua.H("Subscription-State", "active"))
				if err != nil || res.Status != 503 && res.Status != 481 {
					t.Fatalf("NOTIFY: %v, %v, want 481", res, err)
				}
				return res.Status == 481
			})
			probed(t, c2, 1)
			hangUp(t, c2, b2)
		})
	}
}

// terminatedAll waits until a call has ended for the daemon too.
func (s *threesome) terminatedAll(t *testing.T, leg *ua.Dialog) {
	t.Helper()
	if c := s.d.terminated(leg.CallID); c.EndedBy != "caller-bye" {
		t.Errorf("ended by %q", c.EndedBy)
	}
}

// RFC 5359 section 2.5: alice, who talks to bob and to carol, connects them. The
// URI in her Refer-To is carol's Contact as she knows it, which is sipvigil's.
func TestAnAttendedTransferConnectsTheOtherTwo(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := three(t, transport)
			s.alice.AnswerUnknown("NOTIFY", 200, "")
			a1, b1, _ := s.call(t, s.alice, s.bob, s.bob.URI())
			a2, c2, _ := s.call(t, s.alice, s.carol, s.carol.URI())
			probed(t, a1, 1)
			demand(t, a1, 200, "INVITE", ua.Media{Port: 40000, Direction: "sendonly", Version: 2}.String(), ua.H("Content-Type", "application/sdp"))

			replaces := url.QueryEscape(a2.CallID + ";to-tag=" + a2.RemoteTag + ";from-tag=" + a2.LocalTag)
			demand(t, a1, 202, "REFER", "", ua.H("Refer-To", "<"+a2.RemoteTarget()+"?Replaces="+replaces+"&Require=replaces>"))
			hangUp(t, a1, b1)

			target, headers, _ := strings.Cut(strings.Trim(requests(b1, "REFER")[0].Message.Get("Refer-To"), "<>"), "?")
			fields, err := url.ParseQuery(headers)
			if err != nil || target != a2.RemoteTarget() {
				t.Fatalf("Refer-To has %s and %s: %v", target, headers, err)
			}
			b3, c3, invite := s.call(t, s.bob, s.carol, target,
				ua.H("Replaces", fields.Get("Replaces")), ua.H("Require", fields.Get("Require")), ua.H("Supported", "replaces"))
			if got, want := invite.Get("Replaces"), c2.CallID+";to-tag="+c2.LocalTag+";from-tag="+c2.RemoteTag; got != want {
				t.Errorf("carol is to replace %s, which she knows as %s", got, want)
			}
			hangUp(t, c2, a2) // the call that was replaced
			progress(t, b1, a1, "SIP/2.0 200 OK\r\n", "terminated;reason=noresource")
			probed(t, b3, 1)
			probed(t, c3, 1)
			hangUp(t, b3, c3)
		})
	}
}

func TestALargeBodyPassesOverUDPByteForByte(t *testing.T) {
	t.Parallel()
	redisURL, _ := storetest.Redis(t)
	c := dial(t, serve(t, redisURL))
	body := make([]byte, 60_000)
	for i := range body {
		body[i] = byte(i * i / 7)
	}
	demand(t, c.caller, 200, "MESSAGE", string(body), ua.H("Content-Type", "application/octet-stream"))
	demand(t, c.callee, 200, "INFO", string(body), ua.H("Content-Type", "application/octet-stream"), ua.H("Info-Package", "x"))
	if string(requests(c.callee, "MESSAGE")[0].Message.Body) != string(body) || string(requests(c.caller, "INFO")[0].Message.Body) != string(body) {
		t.Error("the body was changed")
	}
	hangUp(t, c.caller, c.callee)
}
