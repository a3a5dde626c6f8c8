package test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"sipvigil/store/storetest"
)

// flow is a call between two SIPp processes, with sipvigil in between and its
// probes at any time.
type flow struct {
	name      string
	transport string   // as SIPp names it; UDP if empty
	ended     string   // what the API says in the end
	ladders   []string // one after the other; the caller's Call-ID and numbers go on
	every     bool     // each message is served, also those that repeat another
	config    string   // the configuration of a daemon of its own
	seldom    bool     // with few probes, from a daemon of its own: SIPp takes nothing while it sends a message in parts
}

func TestCallFlowsBetweenTwoUserAgents(t *testing.T) {
	t.Parallel()
	redisURL, _ := storetest.Redis(t)
	d := serve(t, redisURL, "--config", optionsOnly(t), "--probe-timeout", "10s")
	for i, f := range flows {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			f.run(t, d, fmt.Sprintf("flow-%d@caller", i))
		})
	}
}

func (f flow) run(t *testing.T, d *sipvigil, callID string) {
	l := load{transport: "u1", calls: 1, port: storetest.FreePort(t), peer: storetest.FreePort(t)}
	if f.transport != "" {
		l.transport = f.transport
	}
	at := func(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
	if f.seldom {
		d = serve(t, "embedded", "--config", optionsOnly(t), "--probe-interval", "5s")
	}
	if f.config != "" {
		d = serve(t, "embedded", "--config", optionsOnly(t, strings.ReplaceAll(f.config, "CALLEE", at(l.port))))
	}
	// They stand in the ladders as names.
	hosts := strings.NewReplacer("CALLER", at(l.peer), "CALLEE", at(l.port), "SIPVIGIL", d.target(l))
	a, b := &side{name: "caller", hosts: hosts}, &side{name: "callee", hosts: hosts, callee: true}
	for _, ladder := range f.ladders {
		f.climb(t, d, l, a, b, ladder, callID)
		if t.Failed() {
			return
		}
	}
	eventually(t, "the API says that the call was ended by "+f.ended, func() bool { return slices.Contains(d.ends(callID), f.ended) })
}

// climb runs one ladder.
func (f flow) climb(t *testing.T, d *sipvigil, l load, a, b *side, ladder, callID string) {
	t.Helper()
	args := []string{"-recv_timeout", "75000"}
	if f.every {
		args = append(args, "-nr")
	}
	var callee *sippRun
	if path := b.scenario(t, ladder); path != "" {
		callee = sippFile(t, path, l, l.port, args...)
		eventually(t, "SIPp listens", func() bool { return l.transport == "t1" && listens(l.port) || l.transport == "u1" && bound(l.port) })
	}
	caller := sippFile(t, a.scenario(t, ladder), l, l.peer, append(args, "-cid_str", callID, d.target(l))...)
	ok := caller.succeeded(1)
	if callee != nil && (!ok || !callee.succeeded(1)) {
		t.Log(callee.report()) // what went wrong may show there only
	}
}

// ends is how the calls with this Call-ID ended.
func (d *sipvigil) ends(callID string) []string {
	d.t.Helper()
	var list struct{ Calls []shown }
	if status, body := d.http(http.MethodGet, "/api/v1/calls?state=terminated&limit=1000"); status != http.StatusOK || json.Unmarshal(body, &list) != nil {
		d.t.Fatalf("calls: %d %s", status, body)
	}
	var ends []string
	for _, c := range list.Calls {
		if c.Caller.CallID == callID {
			ends = append(ends, c.EndedBy)
		}
	}
	return ends
}

// bound says whether somebody has this UDP port.
func bound(port int) bool {
	table, err := os.ReadFile("/proc/net/udp")
	return err == nil && strings.Contains(string(table), fmt.Sprintf(":%04X ", port))
}

const (
	// answer sets a call up.
	answer = `
		a->b INVITE sdp
		b>   180 INVITE
		b->a 200 INVITE sdp
		a->b ACK`
	// callerBye and calleeBye end one after a probe.
	callerBye = `
		a    OPTIONS
		a->b BYE
		b->a 200 BYE`
	calleeBye = `
		b    OPTIONS
		b->a BYE
		a->b 200 BYE`
)

// flows are those of RFC 3665 section 3 by their numbers, hold of RFC 5359, and
// what else two user agents may do. RFC 3665's proxies are in sipvigil's place:
// what passes between two of them is left out; kamailio_test.go has a real one.
// Of the transfers of RFC 5359 sections 2.4 and 2.5 they show what the first
// call sees; test/ua plays them with a third phone.
var flows = []flow{
	{name: "RFC 3665 3.1 session, callee hangs up", ended: "callee-bye", ladders: []string{answer + calleeBye}},
	{name: "RFC 3665 3.1 session over TCP, caller hangs up", transport: "t1", ended: "caller-bye", ladders: []string{answer + callerBye}},
	{name: "RFC 3665 3.2 and 3.5 session through proxies that record their route", ended: "callee-bye", ladders: []string{`
		a->b INVITE sdp | Record-Route: <sip:CALLER;lr> ?! Record-Route: .
		b>   180 INVITE | Record-Route: <sip:CALLEE;n=1;lr>, <sip:CALLEE;n=2;lr>
		b->a 200 INVITE sdp | Record-Route: <sip:CALLEE;n=1;lr>, <sip:CALLEE;n=2;lr> ? Record-Route: <sip:CALLER;lr> ?! n=1
		a->b ACK ? ^ACK sip:bob@CALLEE ? n=2;lr>.*n=1;lr>
		b    OPTIONS ? ^OPTIONS sip:bob@CALLEE ? n=2;lr>.*n=1;lr>
		b->a BYE ? ^BYE sip:alice@CALLER ? Route: <sip:CALLER;lr>
		a->b 200 BYE`}},
	{name: "RFC 3665 3.3 session with the proxies' authentication", ended: "callee-bye", ladders: []string{`
		a->b INVITE sdp
		b->a 407 INVITE | Proxy-Authenticate: Digest realm="one", qop="auth", nonce="n1", algorithm=MD5 ? Proxy-Authenticate: ^ *Digest realm="one", qop="auth", nonce="n1", algorithm=MD5
		a->b ACK`, `
		a->b INVITE sdp | Proxy-Authorization: Digest username="alice", realm="one", nonce="n1", uri="sip:bob@CALLEE", response="01" ? Proxy-Authorization: realm="one"
		b->a 407 INVITE | Proxy-Authenticate: Digest realm="two", qop="auth", nonce="n2" ? Proxy-Authenticate: realm="two"
		a->b ACK`, `
		a->b INVITE sdp | Proxy-Authorization: Digest username="alice", realm="two", nonce="n2", uri="sip:bob@CALLEE", response="02" ? Proxy-Authorization: realm="two"
		b>   180 INVITE
		b->a 200 INVITE sdp
		a->b ACK` + calleeBye}},
	{name: "RFC 3665 3.4 session when the first proxy fails", ended: "callee-bye", ladders: []string{answer + calleeBye}, config: `
trunks: [{name: bob, targets: ["sip:127.0.0.1:1;transport=tcp", "sip:CALLEE"]}]
routes: [{to: [bob]}]`},
	{name: "RFC 3665 3.6 session by redirection, and SDP in the ACK", ended: "callee-bye", ladders: []string{`
		a->b INVITE
		b->a 302 INVITE | Contact: <sip:bob@CALLEE;elsewhere> ? Contact: ^ *<sip:bob@CALLEE;elsewhere>
		a->b ACK`, `
		a->b INVITE
		b>   180 INVITE
		b->a 200 INVITE sdp
		a->b ACK sdp` + calleeBye}},
	{name: "RFC 3665 3.7 session with re-INVITE from the callee", ended: "caller-bye", ladders: []string{answer + `
		b    OPTIONS
		b->a INVITE sdp=sendonly
		a->b 200 INVITE sdp=recvonly
		b->a ACK` + callerBye}},
	{name: "RFC 3665 3.8 no answer, cancelled while it rings", ended: "caller-cancel", ladders: []string{`
		a->b INVITE sdp
		b->a 180 INVITE
		a>   CANCEL
		a<   200 CANCEL
		a<   487 INVITE
		a>   ACK
		b<   CANCEL
		b>   200 CANCEL
		b>   487 INVITE
		b<   ACK`}},
	{name: "RFC 3665 3.9 busy", ended: "callee-rejected", ladders: []string{`
		a->b INVITE sdp
		b->a 486 INVITE | Reason: Q.850;cause=17 ? Reason: Q.850;cause=17
		a->b ACK`}},
	{name: "RFC 3665 3.10 no response", ended: "unreachable", ladders: []string{`
		a>   INVITE sdp
		a<   408 INVITE
		a>   ACK`}},
	{name: "RFC 3665 3.11 temporarily unavailable", ended: "callee-rejected", ladders: []string{`
		a->b INVITE sdp
		b>   180 INVITE
		b->a 480 INVITE | Retry-After: 120 ? Retry-After: 120
		a->b ACK`}},

	{name: "RFC 5359 2.1 hold", ended: "callee-bye", ladders: []string{answer + `
		a    OPTIONS
		a->b INVITE sdp=sendonly
		b->a 200 INVITE sdp=recvonly
		a->b ACK
		a    OPTIONS
		a->b INVITE sdp
		b->a 200 INVITE sdp
		a->b ACK` + calleeBye}},

	{name: "RFC 5359 2.4 unattended transfer by the callee", ended: "callee-bye", ladders: []string{answer + `
		b->a INVITE sdp=sendonly
		a->b 200 INVITE sdp=recvonly
		b->a ACK
		b->a REFER | Refer-To: <sip:carol@example.com> | Referred-By: <sip:bob@CALLEE> ? Refer-To: ^ *<sip:carol@example.com> ? Referred-By: <sip:bob@CALLEE>
		a->b 202 REFER
		a->b NOTIFY sipfrag=100 | Event: refer | Subscription-State: active;expires=60 ? Event: ^ *refer ? Subscription-State: active;expires=60
		b->a 200 NOTIFY
		a    OPTIONS
		a->b NOTIFY sipfrag=200 | Event: refer | Subscription-State: terminated;reason=noresource ? Subscription-State: terminated;reason=noresource
		b->a 200 NOTIFY` + calleeBye}},
	{name: "RFC 5359 2.4 unattended transfer that fails, and the call goes on", ended: "caller-bye", ladders: []string{answer + `
		a->b REFER | Refer-To: <sip:carol@example.com> ? Refer-To: ^ *<sip:carol@example.com>
		b->a 202 REFER
		b->a NOTIFY sipfrag=486 | Event: refer | Subscription-State: terminated;reason=noresource ? Event: ^ *refer
		a->b 200 NOTIFY` + callerBye}},
	{name: "RFC 5359 2.5 attended transfer, the transferor hangs up before the outcome", ended: "callee-bye", ladders: []string{answer + `
		b->a INVITE sdp=sendonly
		a->b 200 INVITE sdp=recvonly
		b->a ACK
		b->a REFER | Refer-To: <sip:carol@example.com?Replaces=other%40call%3Bto-tag%3D1%3Bfrom-tag%3D2> ? Refer-To: carol@example.com.Replaces=other%40call%3Bto-tag%3D1%3Bfrom-tag%3D2>
		a->b 202 REFER
		b->a BYE
		a->b 200 BYE
		a->b NOTIFY sipfrag=200 | Event: refer | Subscription-State: terminated;reason=noresource ? Subscription-State: terminated
		b->a 200 NOTIFY`}},

	{name: "fork that rings twice and answers twice", ended: "callee-bye", ladders: []string{`
		a->b INVITE sdp
		b>   180 INVITE tag=1
		b>   183 INVITE sdp tag=2
		b->a 200 INVITE sdp tag=2
		a->b ACK ? To: tag=b2
		b>   200 INVITE sdp tag=1
		b<   ACK ? To: tag=b1
		b<   BYE apart ? To: tag=b1
		b>   200 BYE` + calleeBye}},
	{name: "reliable provisional responses", ended: "caller-bye", ladders: []string{`
		a->b INVITE sdp | Supported: 100rel ? Supported: 100rel
		b->a 183 INVITE sdp | Require: 100rel | RSeq: 7001 ? Require: 100rel ? RSeq: 7001
		a->b PRACK | RAck: 7001 1 INVITE ? RAck: ^ *7001 [0-9]+ INVITE
		b->a 200 PRACK
		b->a 180 INVITE | Require: 100rel | RSeq: 7002 ? Require: 100rel ? RSeq: 7002
		a->b PRACK | RAck: 7002 1 INVITE ? RAck: ^ *7002 [0-9]+ INVITE
		b->a 200 PRACK
		b->a 200 INVITE
		a->b ACK` + callerBye}},
	{name: "UPDATE from both sides, early and confirmed", ended: "caller-bye", ladders: []string{`
		a->b INVITE sdp | Supported: 100rel
		b->a 183 INVITE sdp | Require: 100rel | RSeq: 1
		a->b PRACK | RAck: 1 1 INVITE
		b->a 200 PRACK
		a->b UPDATE sdp=inactive
		b->a 200 UPDATE sdp=inactive
		b->a UPDATE sdp
		a->b 200 UPDATE sdp
		b->a 200 INVITE
		a->b ACK
		a    OPTIONS
		a->b UPDATE sdp=sendonly
		b->a 200 UPDATE sdp=recvonly
		b    OPTIONS
		b->a UPDATE
		a->b 200 UPDATE` + callerBye}},
	{name: "glare, the caller's re-INVITE comes first", ended: "caller-bye", ladders: []string{answer + `
		a    OPTIONS
		a->b INVITE sdp=sendonly
		b>   INVITE sdp=sendonly
		b<   491 INVITE
		b>   ACK
		b->a 491 INVITE
		a->b ACK
		b    OPTIONS
		b->a INVITE sdp=sendonly
		a->b 200 INVITE sdp=recvonly
		b->a ACK
		a    OPTIONS
		a->b INVITE sdp
		b->a 200 INVITE sdp
		a->b ACK` + callerBye}},
	{name: "glare, the callee's re-INVITE comes first", ended: "callee-bye", ladders: []string{answer + `
		b    OPTIONS
		b->a INVITE sdp=sendonly
		a>   INVITE sdp=sendonly
		a<   491 INVITE
		a>   ACK
		a->b 491 INVITE
		b->a ACK
		a    OPTIONS
		a->b INVITE sdp=sendonly
		b->a 200 INVITE sdp=recvonly
		a->b ACK` + calleeBye}},
	{name: "lost INVITE", every: true, ended: "callee-bye", ladders: []string{`
		a->b INVITE sdp
		b<   INVITE again
		b->a 200 INVITE sdp
		a->b ACK` + calleeBye}},
	{name: "lost 200, and its ACK comes late", every: true, ended: "callee-bye", ladders: []string{`
		a->b INVITE sdp
		b->a 200 INVITE sdp
		b>   200 INVITE sdp
		a<   200 INVITE
		a->b ACK` + calleeBye}},
	{name: "lost ACK on the way to the callee", every: true, ended: "callee-bye", ladders: []string{answer + `
		b>   200 INVITE sdp
		b<   ACK` + calleeBye}},
	{name: "caller that never sends ACK", ended: "no-ack", ladders: []string{`
		a->b INVITE sdp
		b->a 200 INVITE sdp
		b<   ACK
		b<   BYE ? Reason: .
		b>   200 BYE
		a<   BYE ? Reason: .
		a>   200 BYE`}},
	{name: "CANCEL before the callee said anything", every: true, ended: "caller-cancel", ladders: []string{`
		a->b INVITE sdp
		a<   100 INVITE
		a>   CANCEL
		a<   200 CANCEL
		a<   487 INVITE
		a>   ACK
		b<   INVITE again
		b<   INVITE again
		b<   INVITE again
		b>   180 INVITE
		b<   CANCEL
		b>   200 CANCEL
		b>   487 INVITE
		b<   ACK`}},
	{name: "offer in the 200, answer in the ACK, also in a re-INVITE", ended: "caller-bye", ladders: []string{`
		a->b INVITE
		b>   180 INVITE
		b->a 200 INVITE sdp
		a->b ACK sdp
		b    OPTIONS
		b->a INVITE
		a->b 200 INVITE sdp
		b->a ACK sdp` + callerBye}},
	{name: "large bodies over UDP", seldom: true, ended: "caller-bye", ladders: []string{large}},
	{name: "large bodies over TCP", seldom: true, transport: "t1", ended: "caller-bye", ladders: []string{large}},
	{name: "strict routers on both sides", ended: "callee-bye", ladders: []string{`
		a->b INVITE sdp | Record-Route: <sip:CALLER;n=1>
		b>   180 INVITE
		b->a 200 INVITE sdp | Record-Route: <sip:CALLEE;n=2> ? Record-Route: <sip:CALLER;n=1>
		a->b ACK ? ^ACK sip:CALLEE;n=2 ? Route: ^ *<sip:bob@CALLEE
		a    OPTIONS ? ^OPTIONS sip:CALLER;n=1 ? Route: ^ *<sip:alice@CALLER
		a->b INFO ? ^INFO sip:CALLEE;n=2 ? Route: ^ *<sip:bob@CALLEE
		b->a 200 INFO
		b    OPTIONS ? ^OPTIONS sip:CALLEE;n=2 ? Route: ^ *<sip:bob@CALLEE
		b->a BYE ? ^BYE sip:CALLER;n=1 ? Route: ^ *<sip:alice@CALLER
		a->b 200 BYE`}},

	// RFC 4028.
	{name: "session timer, the caller refreshes", ended: "caller-bye", ladders: []string{`
		a->b INVITE sdp | Supported: timer | Session-Expires: 90 ? Supported: timer ? Session-Expires: ^ *90
		b->a 200 INVITE sdp | Require: timer | Session-Expires: 90;refresher=uac ? Require: timer ? Session-Expires: ^ *90;refresher=uac
		a->b ACK
		a    OPTIONS
		a->b UPDATE | Supported: timer | Session-Expires: 90;refresher=uac ? Session-Expires: ^ *90;refresher=uac
		b->a 200 UPDATE | Require: timer | Session-Expires: 90;refresher=uac ? Session-Expires: ^ *90;refresher=uac
		a    OPTIONS
		a->b INVITE sdp | Supported: timer | Session-Expires: 90;refresher=uac ? Session-Expires: ^ *90;refresher=uac
		b->a 200 INVITE sdp | Require: timer | Session-Expires: 90;refresher=uac ? Session-Expires: ^ *90;refresher=uac
		a->b ACK` + callerBye}},
	{name: "session timer, the callee refreshes", ended: "callee-bye", ladders: []string{`
		a->b INVITE sdp | Supported: timer | Session-Expires: 90
		b->a 200 INVITE sdp | Supported: timer | Session-Expires: 90;refresher=uas ? Session-Expires: ^ *90;refresher=uas
		a->b ACK
		b    OPTIONS
		b->a UPDATE | Supported: timer | Session-Expires: 90;refresher=uac ? Session-Expires: ^ *90;refresher=uac
		a->b 200 UPDATE | Require: timer | Session-Expires: 90;refresher=uac ? Session-Expires: ^ *90;refresher=uac` + calleeBye}},
	{name: "session timer that is too short for sipvigil, then for the callee", ended: "callee-bye", ladders: []string{`
		a>   INVITE sdp | Supported: timer | Session-Expires: 30
		a<   422 INVITE ? Min-SE: ^ *90
		a>   ACK`, `
		a->b INVITE sdp | Supported: timer | Session-Expires: 90 | Min-SE: 90 ? Session-Expires: ^ *90 ? Min-SE: ^ *90
		b->a 422 INVITE | Min-SE: 120 ? Min-SE: ^ *120
		a->b ACK`, `
		a->b INVITE sdp | Supported: timer | Session-Expires: 120 | Min-SE: 120 ? Session-Expires: ^ *120 ? Min-SE: ^ *120
		b->a 200 INVITE sdp | Require: timer | Session-Expires: 120;refresher=uac ? Session-Expires: ^ *120;refresher=uac
		a->b ACK` + calleeBye}},
	{name: "session timer that nobody refreshes", ended: "session-expired", ladders: []string{`
		a->b INVITE sdp | Supported: timer | Session-Expires: 90
		b->a 200 INVITE sdp | Require: timer | Session-Expires: 90;refresher=uac
		a->b ACK
		a<   BYE
		a>   200 BYE
		b<   BYE
		b>   200 BYE`}},
}

const large = `
		a->b INVITE body=30000
		b>   183 INVITE body=20000
		b->a 200 INVITE body=40000
		a->b ACK body=10000
		a    OPTIONS
		a->b MESSAGE body=40000
		b->a 200 MESSAGE body=40000
		b->a INFO body=30000
		a->b 200 INFO` + callerBye
