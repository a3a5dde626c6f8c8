package dialog

import (
	"strings"
	"testing"
)

// RFC 4475 section 3.1.1.2: unusual characters wherever they are legal.
const (
	intmethTo = `"BEL:\` + "\x07" + ` NUL:\` + "\x00" + ` DEL:\` + "\x7f" + `" <sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*@example.com>`

	intmethFrom = "token1~` token2'+_ token3*%!.- <sip:mundane@example.com>" +
		`;fromParam''~+*_!.-%="работающий";tag=_token~1'+` + "`*%!-."
)

var addresses = []struct {
	value string
	want  Addr
}{
	// RFC 3261 section 20.10, 20.20, 20.39 and 20.34.
	{`"Mr. Watson" <sip:watson@worcester.bell-telephone.com>;q=0.7; expires=3600`,
		Addr{`"Mr. Watson"`, "sip:watson@worcester.bell-telephone.com", ";q=0.7; expires=3600"}},
	{`"Mr. Watson" <mailto:watson@bell-telephone.com> ;q=0.1`,
		Addr{`"Mr. Watson"`, "mailto:watson@bell-telephone.com", ";q=0.1"}},
	{`<sips:bob@192.0.2.4>;expires=60`, Addr{"", "sips:bob@192.0.2.4", ";expires=60"}},
	{`"A. G. Bell" <sip:agb@bell-telephone.com> ;tag=a48s`,
		Addr{`"A. G. Bell"`, "sip:agb@bell-telephone.com", ";tag=a48s"}},
	{`sip:+12125551212@server.phone2net.com;tag=887s`,
		Addr{"", "sip:+12125551212@server.phone2net.com", ";tag=887s"}},
	{`Anonymous <sip:c8oqz84zk7z@privacy.org>;tag=hyh8`,
		Addr{"Anonymous", "sip:c8oqz84zk7z@privacy.org", ";tag=hyh8"}},
	{`The Operator <sip:operator@cs.columbia.edu>;tag=287447`,
		Addr{"The Operator", "sip:operator@cs.columbia.edu", ";tag=287447"}},
	{`<sip:bigbox3.site3.atlanta.com;lr>`, Addr{"", "sip:bigbox3.site3.atlanta.com;lr", ""}},

	// RFC 4475.
	{intmethTo, Addr{intmethTo[:strings.IndexByte(intmethTo, '<')-1],
		`sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*@example.com`, ""}},
	{intmethFrom, Addr{"token1~` token2'+_ token3*%!.-", "sip:mundane@example.com",
		intmethFrom[strings.Index(intmethFrom, ";from"):]}},
	{"\r\n sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n",
		Addr{"", "sip:vivekg@chair-dnrc.example.com", ";   tag    = 1918181833n"}},
	{"\"J Rosenberg \\\\\\\"\"       <sip:jdrosen@example.com>\r\n  ;\r\n  tag = 98asjd8",
		Addr{`"J Rosenberg \\\""`, "sip:jdrosen@example.com", ";\r\n  tag = 98asjd8"}},
	{"\"Quoted string \\\"\\\"\" <sip:jdrosen@example.com> ; newparam =\r\n      newvalue ;\r\n  secondparam ; q = 0.33",
		Addr{`"Quoted string \"\""`, "sip:jdrosen@example.com",
			"; newparam =\r\n      newvalue ;\r\n  secondparam ; q = 0.33"}},
	{"\r\n  <sip:cal%6Cer@host5.example.net;%6C%72;n%61me=v%61lue%25%34%31>",
		Addr{"", "sip:cal%6Cer@host5.example.net;%6C%72;n%61me=v%61lue%25%34%31", ""}},
	{`<sip:I%20have%20spaces@example.net>;tag=938`, Addr{"", "sip:I%20have%20spaces@example.net", ";tag=938"}},
	{`"%Z%45" <sip:resource@example.com>;tag=f232jadfj23`,
		Addr{`"%Z%45"`, "sip:resource@example.com", ";tag=f232jadfj23"}},
	{`sip:null-%00-null@example.com`, Addr{"", "sip:null-%00-null@example.com", ""}},
	{`caller<sip:caller@example.com>;tag=323`, Addr{"caller", "sip:caller@example.com", ";tag=323"}},
	{`sip:+19725552222@gw1.example.net;unknownparam`,
		Addr{"", "sip:+19725552222@gw1.example.net", ";unknownparam"}},
	{`<sip:+19725552222@gw1.example.net;unknownparam>`,
		Addr{"", "sip:+19725552222@gw1.example.net;unknownparam", ""}},
	{`<sip:user@example.com?Route=%3Csip:sip.example.com%3E>`,
		Addr{"", "sip:user@example.com?Route=%3Csip:sip.example.com%3E", ""}},

	// What phones and proxies send.
	{`"" <sip:a@h>`, Addr{`""`, "sip:a@h", ""}},
	{`"Q"<sip:a@h>`, Addr{`"Q"`, "sip:a@h", ""}},
	{`"<sip:x@h>;tag=1" <sip:a@h>;tag=2`, Addr{`"<sip:x@h>;tag=1"`, "sip:a@h", ";tag=2"}},
	{`José (Büro) 1@2 <sip:a@h>`, Addr{"José (Büro) 1@2", "sip:a@h", ""}},
	{`<sip:a@h;x="y,;z">;lr`, Addr{"", `sip:a@h;x="y,;z"`, ";lr"}},
	{`<sip:a@[2001:db8::1]:5070;transport=tcp>;+sip.instance="<urn:uuid:0>"`,
		Addr{"", "sip:a@[2001:db8::1]:5070;transport=tcp", `;+sip.instance="<urn:uuid:0>"`}},
	{`<sip:a@h>;`, Addr{"", "sip:a@h", ";"}},
	{`<tel:+1-201-555-0123;phone-context=example.com>;tag=1`,
		Addr{"", "tel:+1-201-555-0123;phone-context=example.com", ";tag=1"}},
	{`<urn:service:sos>`, Addr{"", "urn:service:sos", ""}},
}

func TestParseAddr(t *testing.T) {
	for _, a := range addresses {
		got, err := ParseAddr(a.value)
		if got != a.want || err != nil {
			t.Errorf("ParseAddr(%q) = %q, %v; want %q", a.value, got, err, a.want)
		}
	}
}

var malformedAddresses = []struct {
	value string
	want  error
}{
	{"", errNoURI},
	{" \t", errNoURI},
	{"<>", errNoURI},
	{"*", errScheme},
	{"<sip>", errScheme},
	{"<sip:>", errScheme},
	{"<user@example.com>", errScheme},
	{";tag=1", errNoURI},

	// RFC 4475 sections 3.1.2.6, 3.1.2.7, 3.1.2.8, 3.1.2.13, 3.1.2.14 and 3.1.2.15.
	{`"Mr. J. User <sip:j.user@example.com>`, errQuotes},
	{`<<sip:user@example.com>>`, errAfter},
	{`<sip:user@example.com; lr>`, errURIByte},
	{`sip:user@example.com?Route=%3Csip:sip.example.com%3E`, errBare},
	{`"Watson, Thomas" < sip:t.watson@example.org >`, errURIByte},
	{`Bell, Alexander <sip:a.g.bell@example.com>;tag=43`, errBare},

	{`<sip:a@h`, errAngle},
	{`sip:a@h>`, errAngle},
	{`<sip:a<b@h>`, errURIByte},
	{`<sip:a@h> x;tag=1`, errAfter},
	{`<sip:a@h>tag=1`, errAfter},
	{`<sip:a@h>, <sip:b@h>`, errAfter},
	{`<sip:a@h>;tag=1, <sip:b@h>`, errParam},
	{`<sip:a@h>;tag=1,2`, errParam},
	{`sip:a@h, sip:b@h`, errBare},
	{`sip:a b@h`, errURIByte},
	{`"Q" x <sip:a@h>`, errDisplay},
	{`"Q"`, errDisplay},
	{`x "Q" <sip:a@h>`, errDisplay},
	{`"Q\" <sip:a@h>`, errQuotes},
	{`"Q\`, errQuotes},
	{`<sip:a@h>;x="y`, errQuotes},
	{`<sip:a@h>;x="y"z`, errQuotes},
	{`<sip:a@h>;x=y"z"`, errParam},
	{`<sip:a@h>;x=y z`, errParam},
	{`<sip:a@h>;x y=z`, errParam},
	{`<sip:a@h>;=z`, errParam},
	{`<sip:a@h>;x=<y>`, errParam},
	{"<sip:a@h>\r\nX: y", errAfter},
	{"<sip:a@h>;tag=1\r\nX: y", errControl},
	{"<sip:a@h>\r\n", errControl},
	{"\"\r\nX: y\" <sip:a@h>", errControl},
	{"\"\\\r\n x\" <sip:a@h>", errControl},
	{"\"\x00\" <sip:a@h>", errControl},
	{"\x7f <sip:a@h>", errControl},
	{"<sip:a@h>;x=\"\x00\"", errControl},
	{"<sip:a@h>;x=\x00", errParam},
	{"<sip:a\x00@h>", errURIByte},
}

func TestParseAddrRefuses(t *testing.T) {
	for _, a := range malformedAddresses {
		got, err := ParseAddr(a.value)
		if got != (Addr{}) || err != a.want {
			t.Errorf("ParseAddr(%q) = %q, %v; want %v", a.value, got, err, a.want)
		}
	}
}

func TestTags(t *testing.T) {
	// value, its tag, the value with the tag "new", the value without one.
	for _, c := range [][4]string{
		{`<sip:a@h>`, "", `<sip:a@h>;tag=new`, `<sip:a@h>`},
		{`<sip:a@h>;tag=old`, "old", `<sip:a@h>;tag=new`, `<sip:a@h>`},
		{`<sip:a@h>;TAG=old`, "old", `<sip:a@h>;TAG=new`, `<sip:a@h>`},
		{`<sip:a@h> ; tag = old ; x`, "old", `<sip:a@h> ; tag = new ; x`, `<sip:a@h>  ; x`},
		{`<sip:a@h;tag=uri>`, "", `<sip:a@h;tag=uri>;tag=new`, `<sip:a@h;tag=uri>`},
		{`<sip:a@h;tag=uri>;x="tag=1;tag=2";tag=old`, "old",
			`<sip:a@h;tag=uri>;x="tag=1;tag=2";tag=new`, `<sip:a@h;tag=uri>;x="tag=1;tag=2"`},
		{`";tag=display" <sip:a@h>`, "", `";tag=display" <sip:a@h>;tag=new`, `";tag=display" <sip:a@h>`},
		{`sip:a@h;tag=old;x=y`, "old", `sip:a@h;tag=new;x=y`, `sip:a@h;x=y`},
		{`sip:a@h`, "", `sip:a@h;tag=new`, `sip:a@h`},
		{`<sip:a@h>;tag`, "", `<sip:a@h>;tag=new`, `<sip:a@h>`},
		{`<sip:a@h>;tag=;x`, "", `<sip:a@h>;tag=new;x`, `<sip:a@h>;x`},
		{`<sip:a@h>;tag=1;x;tag=2;y`, "1", `<sip:a@h>;tag=new;x;y`, `<sip:a@h>;x;y`},
		{`<sip:a@h>;xtag=1;tagx=2`, "", `<sip:a@h>;xtag=1;tagx=2;tag=new`, `<sip:a@h>;xtag=1;tagx=2`},
		{"\r\n sip:v@example.com ;   tag    = 1918181833n", "1918181833n",
			"\r\n sip:v@example.com ;   tag    = new", "\r\n sip:v@example.com "},
		{intmethFrom, "_token~1'+`*%!-.",
			strings.Replace(intmethFrom, "_token~1'+`*%!-.", "new", 1),
			strings.Replace(intmethFrom, ";tag=_token~1'+`*%!-.", "", 1)},
		{intmethTo, "", intmethTo + ";tag=new", intmethTo},
		// A value that cannot be read still gets a tag: a 400 carries it.
		{`"Mr. J. User <sip:j@h>`, "", `"Mr. J. User <sip:j@h>;tag=new`, `"Mr. J. User <sip:j@h>`},
		{``, "", `;tag=new`, ``},
	} {
		got := [4]string{c[0], Tag(c[0]), WithTag(c[0], "new"), WithoutTag(c[0])}
		if got != c {
			t.Errorf("got %q\nwant %q", got, c)
		}
	}
}

func FuzzParseAddr(f *testing.F) {
	for _, a := range addresses {
		f.Add(a.value, "tag")
	}
	for _, a := range malformedAddresses {
		f.Add(a.value, "tag")
	}
	f.Add("<sip:a@h>;tag=1;x;tag=2", "_token~1'+`*%!-.")
	f.Fuzz(func(t *testing.T, value, tag string) {
		if !isToken(tag) {
			tag = "t"
		}
		tagged, bare := WithTag(value, tag), WithoutTag(value)
		a, err := ParseAddr(value)
		if err != nil {
			return
		}
		if got, err := ParseAddr(a.Display + " <" + a.URI + "> " + a.Params); got != a || err != nil {
			t.Errorf("%q: %q was read back as %q, %v", value, a, got, err)
		}
		if got := Tag(tagged); got != tag {
			t.Errorf("Tag(%q) = %q, want %q", tagged, got, tag)
		}
		if got := WithoutTag(tagged); got != bare {
			t.Errorf("WithoutTag(%q) = %q, want %q", tagged, got, bare)
		}
		if Tag(bare) != "" {
			t.Errorf("%q still has a tag", bare)
		}
		if !hasParam(a.Params, "tag") && (bare != value || tagged != value+";tag="+tag) {
			t.Errorf("%q has no tag, but became %q and %q", value, bare, tagged)
		}
		for _, v := range []string{tagged, bare} {
			b, err := ParseAddr(v)
			if b.Display != a.Display || b.URI != a.URI || err != nil {
				t.Errorf("%q became %q: %q, %v", value, v, b, err)
			}
		}
	})
}

func hasParam(params, name string) bool {
	_, ok := Param(params, name)
	return ok
}

const typicalFrom = `"Alice Example" <sip:alice@pbx.example.com:5070;transport=tcp>;tag=9fxced76sl`

func BenchmarkParseAddr(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_, _ = ParseAddr(typicalFrom)
	}
}

func BenchmarkTag(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Tag(typicalFrom)
	}
}

func BenchmarkWithTag(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		WithTag(typicalFrom, "r06c7ofqu39tip39u9t862sk3iifb4sft9vv0")
	}
}
