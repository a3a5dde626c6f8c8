package b2bua

import (
	"bytes"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// everything has messages compared in all their fields.
var everything = cmp.Exporter(func(reflect.Type) bool { return true })

// FuzzParse demands that what is read here is what the library would have read,
// to the last header.
func FuzzParse(f *testing.F) {
	f.Add([]byte(ordinary))
	f.Add([]byte(benchInvite))
	f.Add([]byte("SIP/2.0 180 \r\nv : SIP/2.0/TCP [::1]:5;rport\r\nVia: SIP/2.0/UDP h\r\nL: 1\r\nSubject:\r\n\r\nab"))
	f.Add([]byte("BYE sips:[::1]:5061;lr?a=b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKa;received=192.0.2.1\r\nX: \r\n\r\nbody"))
	f.Add([]byte("OPTIONS * SIP/2.0\r\nVia: SIP/2.0/UDP h\r\n\r\n"))
	f.Add([]byte("INFO sip:h SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nX: a\r\n b\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n"))
	f.Add([]byte("BYE sip:h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKa;x=1;x=2\r\n\r\n"))
	f.Add([]byte("BYE sip:h;x=1;x=2 SIP/2.0\r\nVia: SIP/2.0/UDP h:05;branch=z9hG4bKa\r\n\r\n"))
	f.Add([]byte("BYE sip:h;x=1;x=2 SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKa\r\n\r\n"))
	for _, tt := range torture {
		f.Add(readTorture(f, filepath.FromSlash(tt.file)))
	}
	p := newParser()
	f.Fuzz(func(t *testing.T, datagram []byte) {
		before := bytes.Clone(datagram)
		m := plainMessage(datagram)
		if m == nil {
			return
		}
		read, err := p.library.ParseSIP(before)
		if err != nil {
			t.Fatalf("read, but the library says: %v", err)
		}
		clear(datagram) // the buffer is used again
		want := receivedFrom(read)
		if diff := cmp.Diff(want, m, everything, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("not as the library reads it (-library +here):\n%s", diff)
		}
	})
}

// withLines is a response with these header lines.
func withLines(status int, lines ...string) *received {
	res := &received{status: status}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		res.fields = append(res.fields, headerField{fieldNamed(name), value})
	}
	return res
}

func TestARequestURIStaysAsItWasWritten(t *testing.T) {
	p := newParser()
	test := func(written, want string) {
		t.Helper()
		m, err := p.parse([]byte("OPTIONS " + written + " SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKa\r\n\r\n"))
		if err != nil {
			t.Fatalf("%s: %v", written, err)
		}
		if m.uri != want {
			t.Errorf("%s is %s, want %s", written, m.uri, want)
		}
	}
	for _, uri := range []string{
		"sip:a:@h", "sip:a:b:c@h;x=%20", "sip:h;p=", "sip:h;p=;q", `sip:h;p="x;y"`, "sip:h;lr=on;lr", "sip:+1;phone-context=x@h",
		"sip:a=b@[::1]:5060;x", "tel:+1;a=b", "sip:h:05060", "sip:h;a=b=c",
	} {
		test(uri, uri)
	}
	test("SIPS:A@h;Q=", "sips:A@h;Q=")
	test("sip:a@h?", "sip:a@h?")
}
