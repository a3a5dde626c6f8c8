package test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"testing"

	"sipvigil/store/storetest"
)

// garbage is what is no SIP message, or none that anyone may send.
func garbage(port string) map[string]string {
	random := make([]byte, 900)
	source := rand.NewChaCha8([32]byte{7})
	_, _ = source.Read(random) // never fails
	random[0] = 0xff           // no CRLF: that would be a keep-alive
	via := "Via: SIP/2.0/UDP 127.0.0.1:" + port + ";branch=z9hG4bK%s\r\n"
	head := func(name, start string, without ...string) string {
		fields := start + "\r\n" + fmt.Sprintf(via, name) + "From: <sip:a@127.0.0.1>;tag=1\r\nTo: <sip:b@127.0.0.1>\r\n" +
			"Call-ID: " + name + "\r\nCSeq: 1 " + strings.Fields(start)[0] + "\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
		for _, w := range without {
			before, after, ok := strings.Cut(fields, w+":")
			if ok {
				_, after, _ = strings.Cut(after, "\r\n")
				fields = before + after
			}
		}
		return fields
	}
	whole := head("whole", "INVITE sip:b@127.0.0.1 SIP/2.0")
	return map[string]string{
		"random bytes":       string(random),
		"text":               "hello\r\n\r\n",
		"half a start line":  "INVITE sip:b@127",
		"half a message":     whole[:len(whole)/2],
		"an HTTP request":    "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
		"no Via":             head("novia", "OPTIONS sip:b@127.0.0.1 SIP/2.0", "Via"),
		"no Call-ID":         head("nocallid", "OPTIONS sip:b@127.0.0.1 SIP/2.0", "Call-ID"),
		"no From":            head("nofrom", "INVITE sip:b@127.0.0.1 SIP/2.0", "From"),
		"no To":              head("noto", "INVITE sip:b@127.0.0.1 SIP/2.0", "To"),
		"no CSeq":            head("nocseq", "INVITE sip:b@127.0.0.1 SIP/2.0", "CSeq"),
		"other method":       strings.Replace(head("method", "INVITE sip:b@127.0.0.1 SIP/2.0"), "1 INVITE", "1 OPTIONS", 1),
		"CSeq out of range":  strings.Replace(head("range", "INVITE sip:b@127.0.0.1 SIP/2.0"), "CSeq: 1", "CSeq: 99999999999", 1),
		"negative length":    strings.Replace(head("length", "INVITE sip:b@127.0.0.1 SIP/2.0"), "Length: 0", "Length: -999", 1),
		"more than there is": strings.Replace(head("more", "INVITE sip:b@127.0.0.1 SIP/2.0"), "Length: 0", "Length: 9999", 1),
		"unknown scheme":     head("scheme", "INVITE nobodyknows:this SIP/2.0"),
		"unknown version":    head("version", "INVITE sip:b@127.0.0.1 SIP/7.0"),
		"a broken URI":       head("uri", "INVITE sip:b@[::1 SIP/2.0"),
	}
}

func TestGarbageIsCountedOrRefusedAndHurtsNobody(t *testing.T) {
	t.Parallel()
	redisURL, _ := storetest.Redis(t)
	d := serve(t, redisURL)
	c := dial(t, d)
	conn, err := net.Dial("udp", d.udp)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, port, _ := net.SplitHostPort(conn.LocalAddr().String())
	seen := func() float64 {
		return d.metric("sipvigil_b2bua_malformed_total") + d.metric(`sipvigil_b2bua_responses_total{class="4xx"}`) +
			d.metric(`sipvigil_b2bua_responses_total{class="5xx"}`)
	}
	for name, raw := range garbage(port) {
		before := seen()
		if _, err := conn.Write([]byte(raw)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		eventually(t, name+" is counted or refused", func() bool { return seen() > before })
	}
	stream, err := net.Dial("tcp", d.tcp)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stream.Close() }()
	before := seen()
	if _, err := stream.Write([]byte("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "garbage over TCP is counted", func() bool { return seen() > before })

	if n := d.metric("sipvigil_b2bua_panics_total"); n != 0 {
		t.Errorf("%v handlers panicked", n)
	}
	if n := d.metric("sipvigil_calls_active"); n != 1 {
		t.Errorf("%v calls are active, want 1", n)
	}
	after := dialOver(t, d, "udp", "tcp")
	hangUp(t, after.caller, after.callee)
	hangUp(t, c.callee, c.caller)
}

func TestLogIsJSONLineByLine(t *testing.T) {
	t.Parallel()
	redisURL, _ := storetest.Redis(t)
	d := serve(t, redisURL)
	c := dialOver(t, d, "tcp", "tcp")
	hangUp(t, c.caller, c.callee)
	c.callerPhone.Close()
	c.calleePhone.Close()
	d.terminated(c.id)
	d.stop()
	for line := range strings.Lines(d.log.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("the log holds %q", line)
		}
	}
}
