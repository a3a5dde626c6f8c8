package dialog

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadRefTakesOneTagOfEachSide(t *testing.T) {
	for _, c := range []struct {
		value string
		names RefNames
		want  Ref // zero: an error
	}{
		{"98732@sip.example.com\r\n ;from-tag=r33th4x0r\r\n ;to-tag=ff87ff", Replaces, Ref{"98732@sip.example.com", "ff87ff", "r33th4x0r"}},
		{"12adf2f34456gs5;to-tag=12345;from-tag=54321;early-only", Replaces, Ref{"12adf2f34456gs5", "12345", "54321"}},
		{"87134@171.161.34.23 ; TO-TAG = 24796;From-Tag=0", Replaces, Ref{"87134@171.161.34.23", "24796", "0"}},
		{`a{"<>[]}?\@b:c;to-tag=1;from-tag=2`, Replaces, Ref{`a{"<>[]}?\@b:c`, "1", "2"}},
		{"fa77as7dad8-sd98ajzz@host.example.com;local-tag=kkaz-;remote-tag=6544", TargetDialog, Ref{"fa77as7dad8-sd98ajzz@host.example.com", "kkaz-", "6544"}},
		{"a;local-tag=1;remote-tag=2", Replaces, Ref{}},
		{"a;to-tag=1", Replaces, Ref{}},
		{"a;from-tag=1", Replaces, Ref{}},
		{"a;to-tag=1;from-tag=2;to-tag=3", Replaces, Ref{}},
		{"a;to-tag=1;from-tag=2;from-tag=2", Replaces, Ref{}},
		{"a;to-tag=;from-tag=2", Replaces, Ref{}},
		{"a;to-tag=\"1\";from-tag=2", Replaces, Ref{}},
		{"a;to-tag=1, b;to-tag=1;from-tag=2", Replaces, Ref{}},
		{"a,b;to-tag=1;from-tag=2", Replaces, Ref{}},
		{"a b;to-tag=1;from-tag=2", Replaces, Ref{}},
		{";to-tag=1;from-tag=2", Replaces, Ref{}},
		{"a;to-tag=1;from-tag=2;x=\r\nEvil: yes", Replaces, Ref{}},
		{"", Replaces, Ref{}},
	} {
		got, err := ReadRef(c.value, c.names)
		if got != c.want || (err != nil) != (c.want == Ref{}) {
			t.Errorf("ReadRef(%q) = %+v, %v, want %+v", c.value, got, err, c.want)
		}
	}
}

func TestWithRefKeepsAllButTheDialog(t *testing.T) {
	got := WithRef(" a@b ; early-only;to-tag = 1;x=\"to-tag=9\";FROM-TAG=2;y", Replaces, Ref{"c@d", "33", "0"})
	if want := "c@d; early-only;to-tag = 33;x=\"to-tag=9\";FROM-TAG=0;y"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestATagOfZeroNamesNoneToo(t *testing.T) {
	for _, c := range []struct {
		ref  Ref
		want bool
	}{
		{Ref{"a", "1", "0"}, true}, {Ref{"a", "1", ""}, true}, {Ref{"a", "1", "2"}, false},
		{Ref{"b", "1", "0"}, false}, {Ref{"a", "0", "0"}, false},
	} {
		if got := c.ref.Is("a", "1", ""); got != c.want {
			t.Errorf("%+v: %v, want %v", c.ref, got, c.want)
		}
	}
}

func TestEventHasAPackageAndAnID(t *testing.T) {
	for value, want := range map[string][2]string{
		"refer":                     {"refer", ""},
		"refer;id=93809824":         {"refer", "93809824"},
		" refer ; x=1; ID = 7":      {"refer", "7"},
		"dialog;call-id=\"a;id=5\"": {"dialog", ""},
		"":                          {},
	} {
		if name, id := Event(value); want != [2]string{name, id} {
			t.Errorf("Event(%q) = %q, %q, want %q", value, name, id, want)
		}
	}
	for value, want := range map[string]string{
		"refer ; x=1; ID = 7 ;y": "refer ; x=1; ID = 12 ;y", "refer": "refer",
	} {
		if got := WithParam(value, "id", "12"); got != want {
			t.Errorf("WithParam(%q) = %q, want %q", value, got, want)
		}
	}
}

func TestHeadersOfAURIAreUnescapedAndEscaped(t *testing.T) {
	const before = "sip:dave@denver.example.org;method=INVITE?X=%20&%52eplaces=12345%40192.168.118.3%3Bto-tag%3D12345%3Bfrom-tag%3D5FFE-3994&Y="
	u, err := ParseURI(before)
	if err != nil {
		t.Fatal(err)
	}
	value, ok := u.Header("replaces")
	if want := "12345@192.168.118.3;to-tag=12345;from-tag=5FFE-3994"; value != want || !ok {
		t.Errorf("got %q, %v, want %q", value, ok, want)
	}
	got := u.WithHeader("Replaces", "a&b=c%d@e f\";to-tag=[1]").String()
	want := "sip:dave@denver.example.org;method=INVITE?X=%20&%52eplaces=a%26b%3Dc%25d%40e%20f%22%3Bto-tag%3D[1]&Y="
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, headers := range []string{"", "?", "?x=1", "?replaces=%4", "?replaces=%zz", "?replaces=a&Replaces=b", "?replaces%=a"} {
		if value, ok := (URI{Headers: headers}).Header("Replaces"); ok {
			t.Errorf("%q has %q", headers, value)
		}
	}
	if value, ok := (URI{Headers: "?replaces"}).Header("Replaces"); value != "" || !ok {
		t.Errorf("a header without value: %q, %v", value, ok)
	}
}

func TestWithURIKeepsWhatIsAround(t *testing.T) {
	if got := WithURI(`"sip:a@b" <sip:a@b> ;x=<sip:a@b>`, "sip:c"); got != `"sip:a@b" <sip:c> ;x=<sip:a@b>` {
		t.Errorf("got %s", got)
	}
}

func FuzzRef(f *testing.F) {
	f.Add("98732@sip.example.com ;from-tag=r33th4x0r;to-tag=ff87ff;early-only", "c", "1", "2")
	f.Add("a;local-tag=1;remote-tag=2;x=\"y;z\"", "c@d", "0", "x")
	f.Add("a;to-tag=1;to-tag=2;from-tag=3", "", ",", ";")
	f.Fuzz(func(t *testing.T, value, callID, local, remote string) {
		for _, names := range []RefNames{Replaces, TargetDialog} {
			r, err := ReadRef(value, names)
			if err != nil {
				continue
			}
			if again, err := ReadRef(WithRef(value, names, r), names); err != nil || again != r {
				t.Errorf("%q: %+v became %+v, %v", value, r, again, err)
			}
			other := Ref{callID, local, remote}
			if !isCallID(callID) || !isToken(local) || !isToken(remote) {
				continue
			}
			if got, err := ReadRef(WithRef(value, names, other), names); err != nil || got != other {
				t.Errorf("%q with %+v reads %+v, %v", value, other, got, err)
			}
		}
	})
}

func FuzzURIHeader(f *testing.F) {
	f.Add("?Replaces=a%40b%3Bto-tag%3D1%3Bfrom-tag%3D2&x=y", "c@d;to-tag=3;from-tag=4")
	f.Add("?replaces&replaces=%", "\r\nEvil: yes\x00\xff%&?=")
	f.Fuzz(func(t *testing.T, headers, value string) {
		if headers == "" || headers[0] != '?' {
			return
		}
		u := URI{Scheme: "sip", Host: "h", Headers: headers}
		if _, ok := u.Header("Replaces"); !ok {
			return
		}
		changed := u.WithHeader("Replaces", value)
		if got, ok := changed.Header("Replaces"); got != value || !ok {
			t.Errorf("%q with %q has %q, %v", headers, value, got, ok)
		}
		if back := changed.WithHeader("Replaces", "x"); back.Headers != u.WithHeader("Replaces", "x").Headers {
			t.Errorf("%q changed around the value: %s", headers, cmp.Diff(u, changed))
		}
	})
}

func FuzzEvent(f *testing.F) {
	f.Add("refer;id=5", "7")
	f.Add("refer ;x=\"a;id=6\";ID = 5;id", "7")
	f.Fuzz(func(t *testing.T, value, id string) {
		name, old := Event(value)
		if old == "" || !isToken(id) {
			return
		}
		if n, i := Event(WithParam(value, "id", id)); n != name || i != id {
			t.Errorf("%q with %q reads %q, %q", value, id, n, i)
		}
	})
}
