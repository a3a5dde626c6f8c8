package ua_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sipvigil/test/ua"
)

const options = "OPTIONS sip:bob@127.0.0.1 SIP/2.0\r\n" +
	"v: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bKa , SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKb\r\n" +
	"Max-Forwards:70\r\n" +
	"f : \"A, <B>\" <sip:alice@127.0.0.1;x=1>\r\n ;tag=from\r\n" +
	"To: sip:bob@127.0.0.1;tag=to\r\n" +
	"i: 1@h\r\n" +
	"CSeq: 0007 OPTIONS\r\n" +
	"l: 2\r\n" +
	"\r\n" +
	"hi"

func TestParse(t *testing.T) {
	got, err := ua.Parse([]byte(options + "beyond"))
	if err != nil {
		t.Fatal(err)
	}
	want := &ua.Message{
		Method:     "OPTIONS",
		RequestURI: "sip:bob@127.0.0.1",
		Headers: []ua.Header{
			ua.H("v", "SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bKa , SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKb"),
			ua.H("Max-Forwards", "70"),
			ua.H("f", "\"A, <B>\" <sip:alice@127.0.0.1;x=1> ;tag=from"),
			ua.H("To", "sip:bob@127.0.0.1;tag=to"),
			ua.H("i", "1@h"),
			ua.H("CSeq", "0007 OPTIONS"),
			ua.H("l", "2"),
		},
		Body: []byte("hi"),
		Raw:  options,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("parsed (-want +got):\n%s", diff)
	}
	number, method := got.CSeq()
	facts := []any{got.Branch(), got.FromTag(), got.ToTag(), got.CallID(), number, method, len(got.Values("Via"))}
	if diff := cmp.Diff([]any{"z9hG4bKa", "from", "to", "1@h", uint32(7), "OPTIONS", 2}, facts); diff != "" {
		t.Errorf("facts (-want +got):\n%s", diff)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, test := range []struct{ old, new string }{
		{"\r\n\r\n", "\r\n"},
		{"SIP/2.0\r\n", "SIP/3.0\r\n"},
		{"OPTIONS sip", "OPT(ONS sip"},
		{"OPTIONS sip", "OPTIONS  sip"},
		{"Max-Forwards:70", "Max Forwards:70"},
		{"Max-Forwards:70\r\n", "Max-Forwards:70\n"},
		{"i: 1@h", "X: 1@h"},
		{"i: 1@h", "i: 1@h\r\nCall-ID: 2"},
		{"i: 1@h", "i:"},
		{"0007 OPTIONS", "7 INVITE"},
		{"0007", "-7"},
		{"0007", "2147483648"},
		{"l: 2", "l: 3"},
		{"l: 2", "l: +2"},
		{"l: 2", "l: 2\r\nContent-Length: 2"},
		{"v: SIP", "v: HTTP"},
		{"OPTIONS sip:bob@127.0.0.1 SIP/2.0", "SIP/2.0 99 No"},
		{"OPTIONS sip:bob@127.0.0.1 SIP/2.0", "SIP/2.0 200"},
	} {
		broken := strings.Replace(options, test.old, test.new, 1)
		if broken == options {
			t.Fatalf("%q is not in the message", test.old)
		}
		if m, err := ua.Parse([]byte(broken)); err == nil {
			t.Errorf("%q for %q: parsed as %s", test.new, test.old, m)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(options))
	f.Add([]byte(strings.Replace(options, "OPTIONS sip:bob@127.0.0.1 SIP/2.0", "SIP/2.0 200 OK", 1)))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := ua.Parse(raw)
		if err != nil {
			return
		}
		_ = m.String()
		_ = m.Values("Contact")
		_, _, _, _ = m.Branch(), m.FromTag(), m.ToTag(), m.CallID()
		again, err := ua.Parse(m.Bytes())
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, m.Bytes())
		}
		again.Raw, m.Raw = "", ""
		if !m.Has("Content-Length") {
			again.Headers = again.Headers[:len(again.Headers)-1]
		}
		if diff := cmp.Diff(m, again); diff != "" {
			t.Fatalf("written and read again (-first +second):\n%s", diff)
		}
	})
}
