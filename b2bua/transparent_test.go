package b2bua_test

import (
	"fmt"
	"strings"
	"testing"

	"sipvigil/test/ua"
)

func TestWhatIsInsideARequestIsTheFarEndsBusiness(t *testing.T) {
	bytes := make([]byte, 256)
	for i := range bytes {
		bytes[i] = byte(i)
	}
	multipart := "--a\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--a\r\nContent-Type: application/isup\r\n" +
		"Content-Disposition: signal;handling=optional\r\n\r\n" + string(bytes) + "\r\n--a--\r\n"
	for _, tt := range []struct {
		name, method, body string
		status             int
		header             []string
	}{
		{"DTMF", "INFO", "Signal=1\r\nDuration=160\r\n", 200, []string{"Content-Type: application/dtmf-relay"}},
		{"a package", "INFO", "<x/>", 200, []string{"Info-Package: foo;bar=1", "Content-Disposition: Info-Package", "Content-Type: text/xml"}},
		{"a package that is not known", "INFO", "", 469, []string{"Info-Package: nobody-knows"}},
		{"nothing", "MESSAGE", "", 200, nil},
		{"every byte", "MESSAGE", string(bytes), 200, []string{"Content-Type: application/octet-stream"}},
		{"parts", "UPDATE", multipart, 200, []string{"Content-Type: multipart/mixed;boundary=a", "MIME-Version: 1.0"}},
		{"as much as fits a datagram", "MESSAGE", strings.Repeat(string(bytes), 240), 415, []string{"c: text/x", "e: gzip"}},
		{"an event that is not known", "SUBSCRIBE", "", 489, []string{"Event: nobody-knows;id=1"}},
		{"an unknown subscription", "SUBSCRIBE", "", 481, []string{"Event: dialog"}},
		{"a subscription that is gone", "NOTIFY", "x", 481, []string{"Event: dialog;id=refer", "Subscription-State: active"}},
		{"headers of any kind", "INFO", "", 200, []string{"X: ", "x-CASE: a", "X-Odd: ;;,,\"", "x-case: b", "P-Early-Media: supported",
			"Subject: caf\xc3\xa9 \xff", "Call-Info: <http://h/a>;purpose=icon, <http://h/b>", "Geolocation: <cid:a@b>", "Identity: a.b.c;info=<https://c>",
			"In-Reply-To: a@b, c@d", "Session-Expires: 1800;refresher=uas", "History-Info: <sip:a@h?Reason=SIP%3Bcause%3D302>;index=1"}},
	} {
		for _, side := range []string{"caller", "callee"} {
			t.Run(tt.name+" from the "+side, func(t *testing.T) {
				inWorld(t, nil, func(w *world) {
					w.connect()
					from, to := w.alice, w.bob
					if side == "callee" {
						from, to = to, from
					}
					from.request(tt.method, tt.body, tt.header...)
					m := to.next(tt.method)
					same(w.T, relayedLines(m), strings.Join(tt.header, "\n"))
					same(w.T, string(m.Body), tt.body)
					to.respond(m, tt.status, tt.body, append([]string{"Reason: Q.850;cause=21;text=\"x\", SIP;cause=603"}, tt.header...)...)
					m = from.next(fmt.Sprintf("%d %s", tt.status, tt.method))
					same(w.T, relayedLines(m), strings.Join(append([]string{"Reason: Q.850;cause=21;text=\"x\", SIP;cause=603"}, tt.header...), "\n"))
					same(w.T, string(m.Body), tt.body)
					w.obs.heard()
					from.nothing()
					to.nothing()
					if rec, _ := w.agent.Call(w.id); rec.State != "confirmed" {
						w.Errorf("the call is %s", rec.State)
					}
				})
			})
		}
	}
}

// relayedLines are the header lines of a message that are not of its leg.
func relayedLines(m *ua.Message) string {
	header, _, _ := strings.Cut(m.Raw, "\r\n\r\n")
	var found []string
	for i, line := range strings.Split(header, "\r\n") {
		name, _, _ := strings.Cut(line, ":")
		switch name {
		case "Via", "From", "To", "Call-ID", "CSeq", "Max-Forwards", "Contact", "Content-Length", "Session-ID":
		default:
			if i > 0 {
				found = append(found, line)
			}
		}
	}
	return strings.Join(found, "\n")
}

func TestExtensionsThatFarEndsAgreeOnAreAccepted(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		const tags = "100rel, replaces, norefersub, tdialog, join, nosub, explicitsub, multiple-refer, answermode, resource-priority, uui, ice, sdp-anat"
		w.dial("Require: "+tags, "Proxy-Require: "+tags, "Supported: "+tags+", gruu")
		for _, name := range []string{"Require", "Proxy-Require"} {
			same(w.T, w.invite.Get(name), tags)
		}
		same(w.T, w.invite.Get("Supported"), tags+", gruu")
	})
}

func TestReasonIsRelayedInCancel(t *testing.T) {
	for _, rings := range []bool{true, false} {
		inWorld(t, nil, func(w *world) {
			w.alice.sent = 40
			w.dial()
			if rings {
				w.bob.respond(w.invite, 180, "")
				w.alice.next("180 INVITE")
			}
			cancel := w.alice.build("CANCEL", w.alice.cseq, "", `Reason: SIP;cause=200;text="Call completed elsewhere"`, "Reason: Q.850;cause=26")
			w.alice.say(replaceBranch(cancel, "alice-42", "alice-41"))
			w.alice.next("200 CANCEL")
			w.alice.next("487 INVITE")
			if !rings { // the CANCEL has waited for the first answer
				w.bob.respond(w.invite, 180, "")
			}
			same(w.T, strings.Join(w.bob.next("CANCEL").All("Reason"), "|"), `SIP;cause=200;text="Call completed elsewhere"|Q.850;cause=26`)
		})
	}
}

func TestAViaGoesBackAsItCame(t *testing.T) {
	const below = `SIP/2.0/UDP 192.0.2.1;i="a;b";branch=z9hG4bK-below`
	for _, via := range []string{
		`;x-route-tag="cid:orig@192.0.2.1";branch=z9hG4bK-quoted`, // as gateways of Cisco write it
		`;branch=z9hG4bK-quoted;x="cid:orig, or; \"so\""`,
		`;branch=z9hG4bK-twice;x=1;x=2;y=`,
	} {
		test := func(w *world) {
			invite := w.alice.build("INVITE", 1, offer)
			start := strings.Index(invite, "Via: ") + len("Via: ")
			was, _, _ := strings.Cut(invite[start:], "\r\n")
			sentBy, _, _ := strings.Cut(was, ";")
			whole := sentBy + via
			w.alice.say(strings.Replace(invite, was, whole+", "+below, 1))
			same(w.T, strings.Join(w.alice.next("100 INVITE").All("Via"), "\n"), whole+"\n"+below)
			w.take(w.bob)
			w.alice.say(swapMethod(strings.Replace(invite, was, whole, 1), "CANCEL")) // and the branch is read
			w.alice.next("200 CANCEL")
			same(w.T, strings.Join(w.alice.next("487 INVITE").All("Via"), "\n"), whole+"\n"+below)
		}
		inWorld(t, nil, test)
		overTCP(t, test)
	}
}
