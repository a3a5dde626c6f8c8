package b2bua_test

import (
	"context"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"sipvigil/b2bua"
	"sipvigil/b2bua/locate"
)

// inquire has the agent ask; what came of it comes when it has.
func (w *world) inquire(ctx context.Context, target string, timeout time.Duration) <-chan b2bua.Finding {
	found := make(chan b2bua.Finding, 1)
	go func() { found <- w.agent.Inquire(ctx, target, timeout) }()
	synctest.Wait()
	return found
}

func wantFinding(t *testing.T, found <-chan b2bua.Finding, want b2bua.Finding) {
	t.Helper()
	synctest.Wait()
	select {
	case got := <-found:
		if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
			t.Errorf("finding (-want +got):\n%s", diff)
		}
	default:
		t.Error("nothing was found yet")
	}
}

var carolHop = locate.Hop{Transport: "udp", Addr: netip.MustParseAddrPort(carolAddr)}

func TestAnInquiryTellsAllThatTheAnswerSays(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		found := w.inquire(w.Context(), "sip:carol@"+carolAddr, time.Second)
		m := w.carol.next("OPTIONS")
		same(t, m.RequestURI, "sip:carol@"+carolAddr)
		for name, want := range map[string]string{"Max-Forwards": "70", "CSeq": "1 OPTIONS", "To": "<sip:carol@127.0.0.1>",
			"Accept": "application/sdp", "Contact": "<sip:" + agentAddr + ">", "Supported": "100rel, timer"} {
			same(t, m.Get(name), want)
		}
		time.Sleep(250 * time.Millisecond)
		answer := w.carol.response(m, 200, "v=0\r\nm=audio 0 RTP/AVP 9 99\r\na=rtpmap:99 opus/48000/2\r\n", "Content-Type: application/sdp",
			"Server: Phone 1", "Contact: <sip:carol@10.0.0.1>;+sip.instance=\"x\"", "Allow: INVITE, REFER", "Supported: timer", "Accept-Language: en")
		w.carol.say(strings.Replace(answer, ";rport", ";received=198.51.100.9;rport=40001", 1))
		wantFinding(t, found, b2bua.Finding{
			Traffic: b2bua.Traffic{Kind: b2bua.Answer, Method: "OPTIONS", Status: 200, Phrase: "Phrase of carol", RTT: 250 * time.Millisecond},
			Hop:     carolHop, From: carolAddr, Seen: "198.51.100.9:40001", Server: "Phone 1", Contact: `<sip:carol@10.0.0.1>;+sip.instance="x"`,
			Can: b2bua.Capabilities{Allow: []string{"INVITE", "REFER"}, Supported: []string{"timer"}, Languages: []string{"en"},
				Codecs: []string{"audio G722/8000", "audio opus/48000/2"}},
		})
	})
}

func TestAnInquiryTellsWhereWeWereSeen(t *testing.T) {
	for via, want := range map[string]string{
		";rport":                          "", // it knows nothing of RFC 3581
		";rport=5060":                     "127.0.0.1:5060",
		";received=192.0.2.9":             "192.0.2.9",
		";rport=7;received=2001:db8::1":   "[2001:db8::1]:7",
		";rport=7;received=[2001:db8::1]": "[2001:db8::1]:7", // RFC 5118 section 4.5 has both
	} {
		inWorld(t, nil, func(w *world) {
			found := w.inquire(w.Context(), "sip:"+carolAddr, time.Second)
			w.carol.say(strings.Replace(w.carol.response(w.carol.next("OPTIONS"), 200, ""), ";rport", via, 1))
			synctest.Wait()
			same(t, (<-found).Seen, want)
		})
	}
}

func TestAnInquiryWithoutAnAnswerEndsInTime(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		began := time.Now()
		found := w.inquire(w.Context(), "sip:"+carolAddr, 2*time.Second)
		time.Sleep(2 * time.Second)
		wantFinding(t, found, b2bua.Finding{Traffic: b2bua.Traffic{Kind: b2bua.NoReply, Method: "OPTIONS"}, Hop: carolHop})
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("it took %v", took)
		}
		same(t, strings.Join(w.carol.all(), ","), "OPTIONS,OPTIONS,OPTIONS") // at 0, 0.5 and 1.5 s
		pass(time.Minute)
		w.carol.nothing()

		ctx, cancel := context.WithCancel(w.Context())
		found = w.inquire(ctx, "sip:"+carolAddr, time.Minute)
		cancel()
		wantFinding(t, found, b2bua.Finding{Traffic: b2bua.Traffic{Kind: b2bua.Unsent, Method: "OPTIONS", Reason: "it was given up"}, Hop: carolHop})
	})
}

func TestAnInquiryThatCannotBeSentSaysWhy(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		for target, why := range map[string]string{
			"sips:carol@example.com":     "the scheme must be sip",
			"carol":                      "is not a SIP URI",
			"sip:127.0.0.1;transport=ws": "cannot be connected to",
		} {
			select {
			case f := <-w.inquire(w.Context(), target, time.Second):
				if f.Kind != b2bua.Unsent || !strings.Contains(f.Reason, why) {
					t.Errorf("%s: %+v", target, f)
				}
			default:
				t.Errorf("%s: nothing was found", target)
			}
		}
		w.network.Refuse(carolAddr, syscall.EHOSTUNREACH)
		select {
		case f := <-w.inquire(w.Context(), "sip:"+carolAddr, time.Second):
			if f.Kind != b2bua.Unsent || f.Reason == "" {
				t.Errorf("a network that takes nothing: %+v", f)
			}
		default:
			t.Error("a network that takes nothing: nothing was found")
		}
	})
}
