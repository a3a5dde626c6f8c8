package dialog

import (
	"net"
	"strings"
	"testing"
)

var uris = []struct {
	text string
	want URI
}{
	// RFC 3261 section 19.1.3.
	{"sip:alice@atlanta.com", URI{Scheme: "sip", User: "alice", Host: "atlanta.com"}},
	{"sip:alice:secretword@atlanta.com;transport=tcp",
		URI{Scheme: "sip", User: "alice:secretword", Host: "atlanta.com", Params: ";transport=tcp"}},
	{"sips:alice@atlanta.com?subject=project%20x&priority=urgent",
		URI{Scheme: "sips", User: "alice", Host: "atlanta.com", Headers: "?subject=project%20x&priority=urgent"}},
	{"sip:+1-212-555-1212:1234@gateway.com;user=phone",
		URI{Scheme: "sip", User: "+1-212-555-1212:1234", Host: "gateway.com", Params: ";user=phone"}},
	{"sips:1212@gateway.com", URI{Scheme: "sips", User: "1212", Host: "gateway.com"}},
	{"sip:alice@192.0.2.4", URI{Scheme: "sip", User: "alice", Host: "192.0.2.4"}},
	{"sip:atlanta.com;method=REGISTER?to=alice%40atlanta.com",
		URI{Scheme: "sip", Host: "atlanta.com", Params: ";method=REGISTER", Headers: "?to=alice%40atlanta.com"}},
	{"sip:alice;day=tuesday@atlanta.com", URI{Scheme: "sip", User: "alice;day=tuesday", Host: "atlanta.com"}},

	// RFC 4475 and RFC 5118.
	{"sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com",
		URI{Scheme: "sip", Host: "example.com",
			User: "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"}},
	{"sip:sips%3Auser%40example.com@example.net",
		URI{Scheme: "sip", User: "sips%3Auser%40example.com", Host: "example.net"}},
	{"sip:user;par=u%40example.net@example.com",
		URI{Scheme: "sip", User: "user;par=u%40example.net", Host: "example.com"}},
	{"sip:user@example.com?Route=%3Csip:sip.example.com%3E",
		URI{Scheme: "sip", User: "user", Host: "example.com", Headers: "?Route=%3Csip:sip.example.com%3E"}},
	{"sip:[2001:db8::10]", URI{Scheme: "sip", Host: "2001:db8::10"}},
	{"sip:[2001:db8::10:5070]", URI{Scheme: "sip", Host: "2001:db8::10:5070"}},
	{"sip:[2001:db8::10]:5070", URI{Scheme: "sip", Host: "2001:db8::10", Port: 5070}},
	{"sip:user@[::ffff:192.0.2.1];lr", URI{Scheme: "sip", User: "user", Host: "::ffff:192.0.2.1", Params: ";lr"}},
	{"soap.beep://192.0.2.103:3002", URI{Scheme: "soap.beep", User: "//192.0.2.103:3002"}},
	{"nobodyKnowsThisScheme:totallyopaquecontent",
		URI{Scheme: "nobodyknowsthisscheme", User: "totallyopaquecontent"}},

	{"SIP:a@h", URI{Scheme: "sip", User: "a", Host: "h"}},
	{"sip:a@Host_1.example.:05060", URI{Scheme: "sip", User: "a", Host: "Host_1.example.", Port: 5060}},
	{"sip:a@3f2a9c01b2d4:65535", URI{Scheme: "sip", User: "a", Host: "3f2a9c01b2d4", Port: 65535}},
	{"sip:h;x=[::1]:5060?a=b?c;d", URI{Scheme: "sip", Host: "h", Params: ";x=[::1]:5060", Headers: "?a=b?c;d"}},
	{"sip:u@h?Replaces=1@2", URI{Scheme: "sip", User: "u", Host: "h", Headers: "?Replaces=1@2"}},
	{`sip:u@h;x="y"`, URI{Scheme: "sip", User: "u", Host: "h", Params: `;x="y"`}},
	{"sip:h?", URI{Scheme: "sip", Host: "h", Headers: "?"}},
	{"tel:+1-201-555-0123", URI{Scheme: "tel", User: "+1-201-555-0123"}},
	{"tel:7042;phone-context=example.com", URI{Scheme: "tel", User: "7042", Params: ";phone-context=example.com"}},
	{"mailto:watson@bell-telephone.com", URI{Scheme: "mailto", User: "watson@bell-telephone.com"}},
	{"urn:service:sos;x", URI{Scheme: "urn", User: "service:sos;x"}},
}

func TestParseURI(t *testing.T) {
	for _, u := range uris {
		got, err := ParseURI(u.text)
		if got != u.want || err != nil {
			t.Errorf("ParseURI(%q) = %+v, %v; want %+v", u.text, got, err, u.want)
		}
		want := strings.Replace(u.text, ":05060", ":5060", 1)
		colon := strings.IndexByte(want, ':')
		want = strings.ToLower(want[:colon]) + want[colon:]
		if got.String() != want {
			t.Errorf("%q was written as %q", u.text, got)
		}
	}
}

var malformedURIs = []struct {
	text string
	want error
}{
	{"", errNoURI},
	{"sip", errScheme},
	{"sip:", errScheme},
	{":a@h", errScheme},
	{"1sip:a@h", errScheme},
	{"s ip:a@h", errURIByte},
	{"a@h", errScheme},
	{"a@h:5060", errScheme},
	{"<sip:user@example.com>", errURIByte},
	{"sip:user@example.com; lr", errURIByte},
	{"sip:a@h>", errURIByte},
	{"sip:a@h\r\nX: y", errURIByte},
	{"tel:+1 201", errURIByte},
	{"sip:@h", errUser},
	{"sip::secret@h", errUser},
	{`sip:a"b@h`, errUser},
	{"sip:a@", errHost},
	{"sip:a@b@c", errHost},
	{"sip:a@;lr", errHost},
	{"sip:a@.h", errHost},
	{"sip:a@h..h", errHost},
	{"sip:a@h,h", errHost},
	{"sip:a@h%41", errHost},
	{"sip:a@hé", errHost},
	{"sip:a@1.2.3", errHost},
	{"sip:a@1.2.3.256", errHost},
	{"sip:a@192.0.2.1.", errHost},
	{"sip:a@12", errHost},
	{"sip:2001:db8::10", errHost},
	{"sip:[2001:db8::10", errHost},
	{"sip:[2001:db8::10]5060", errHost},
	{"sip:[]", errHost},
	{"sip:[192.0.2.1]", errHost},
	{"sip:[fe80::1%eth0]", errHost},
	{"sip:a@h:", errPort},
	{"sip:a@h:0", errPort},
	{"sip:a@h:65536", errPort},
	{"sip:a@h:4294972356", errPort},
	{"sip:a@h:99999999999999999999", errPort},
	{"sip:a@h:+80", errPort},
	{"sip:a@h:80a", errPort},
}

func TestParseURIRefuses(t *testing.T) {
	for _, u := range malformedURIs {
		if got, err := ParseURI(u.text); got != (URI{}) || err != u.want {
			t.Errorf("ParseURI(%q) = %+v, %v; want %v", u.text, got, err, u.want)
		}
	}
}

func TestHostPort(t *testing.T) {
	test := func(uri string, port int, want string) {
		t.Helper()
		u, err := ParseURI(uri)
		if got := u.HostPort(port); got != want || err != nil {
			t.Errorf("HostPort(%d) of %q = %q, %v; want %q", port, uri, got, err, want)
		}
	}
	test("sip:a@example.com", 5060, "example.com:5060")
	test("sip:a@example.com:5070", 5060, "example.com:5070")
	test("sips:a@[2001:db8::1]", 5061, "[2001:db8::1]:5061")
	test("sip:a@[2001:db8::1]:5070", 5060, "[2001:db8::1]:5070")
	test("sip:a@example.com", 0, "example.com")
}

func TestURIParam(t *testing.T) {
	u, err := ParseURI("sip:u;transport=udp@h;Transport=tcp;lr?transport=tls")
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := u.Param("transport"); got != "tcp" || !ok {
		t.Errorf("transport is %q, %v", got, ok)
	}
	if got, ok := u.Param("maddr"); got != "" || ok {
		t.Errorf("maddr is %q, %v", got, ok)
	}
}

func FuzzParseURI(f *testing.F) {
	for _, u := range uris {
		f.Add(u.text)
	}
	for _, u := range malformedURIs {
		f.Add(u.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u, err := ParseURI(text)
		if err != nil {
			if u != (URI{}) {
				t.Errorf("ParseURI(%q) = %+v, %v", text, u, err)
			}
			return
		}
		written := u.String()
		if again, err := ParseURI(written); again != u || err != nil {
			t.Errorf("%q was written as %q and read as %+v, %v", text, written, again, err)
		}
		if len(written) == len(text) && !strings.EqualFold(written, text) {
			t.Errorf("%q was written as %q", text, written)
		}
		if a, err := ParseAddr("<" + text + ">"); a.URI != text || err != nil {
			t.Errorf("%q is a URI, but between <> it is %q, %v", text, a.URI, err)
		}
		if u.Scheme != "sip" && u.Scheme != "sips" {
			return
		}
		if host, _, err := net.SplitHostPort(u.HostPort(5060)); host != u.Host || err != nil {
			t.Errorf("HostPort of %q is %q: %q, %v", text, u.HostPort(5060), host, err)
		}
	})
}

func BenchmarkParseURI(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_, _ = ParseURI("sip:alice@pbx.example.com:5070;transport=tcp;lr")
	}
}
