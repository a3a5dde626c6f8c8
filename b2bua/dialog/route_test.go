package dialog

import (
	"slices"
	"strings"
	"testing"

	"sipvigil/store"
)

func TestRouteSet(t *testing.T) {
	records := []string{
		`<sip:p4.domain.com;lr>, "x, y" <sip:p3.middle.com>;z="1,2"`,
		`<sip:p2.example.com;lr;x="a,b">`,
		"",
		` <sip:p1.example.com;lr> `,
	}
	want := []string{
		`<sip:p4.domain.com;lr>`, `"x, y" <sip:p3.middle.com>;z="1,2"`,
		`<sip:p2.example.com;lr;x="a,b">`,
		`<sip:p1.example.com;lr>`,
	}
	if got := RouteSet(records, false); !slices.Equal(got, want) {
		t.Errorf("at the UAS: %q, want %q", got, want)
	}
	slices.Reverse(want)
	if got := RouteSet(records, true); !slices.Equal(got, want) {
		t.Errorf("at the UAC: %q, want %q", got, want)
	}
	if got := RouteSet(nil, true); got != nil {
		t.Errorf("of no headers: %q", got)
	}
}

func TestNextHop(t *testing.T) {
	test := func(target, routeSet, uri, routes, hop string) {
		t.Helper()
		d := store.Dialog{Target: target, RouteSet: SplitList(routeSet)}
		before := slices.Clone(d.RouteSet)
		gotURI, gotRoutes, gotHop := NextHop(&d)
		if gotURI != uri || strings.Join(gotRoutes, ",") != routes || gotHop != hop {
			t.Errorf("target %q, routes %q:\ngot  %q, %q, %q\nwant %q, %q, %q",
				target, routeSet, gotURI, gotRoutes, gotHop, uri, routes, hop)
		}
		if !slices.Equal(d.RouteSet, before) || d.Target != target {
			t.Errorf("the record was changed: %q, %q", d.Target, d.RouteSet)
		}
	}
	const callee = "sip:callee@u2.domain.com"

	test(callee, "", callee, "", callee)
	test("sip:a@h;method=INVITE;lr?Subject=x", "", "sip:a@h;lr", "", "sip:a@h;lr")
	test("sip:a;method=x@h?", "", "sip:a;method=x@h", "", "sip:a;method=x@h")
	test("tel:+1;method=x?y", "", "tel:+1", "", "tel:+1")
	test("not a URI?x", "", "not a URI?x", "", "not a URI?x")

	// RFC 3261 section 16.12.1.1: loose routers.
	test(callee, "<sip:p2.domain.com;lr>,<sip:p1.example.com;lr>",
		callee, "<sip:p2.domain.com;lr>,<sip:p1.example.com;lr>", "sip:p2.domain.com;lr")
	test(callee, `"P" <sip:p:5070;transport=tcp;x=y;LR=on>;z`,
		callee, `"P" <sip:p:5070;transport=tcp;x=y;LR=on>;z`, "sip:p:5070;transport=tcp;x=y;LR=on")
	test(callee, "sip:p;lr", callee, "sip:p;lr", "sip:p;lr")
	test(callee, "<sip:p p>", callee, "<sip:p p>", "sip:p p")

	// RFC 3261 section 12.2.1.1: a strict router.
	test("sip:user@remoteua", "<sip:proxy1>,<sip:proxy2>,<sip:proxy3;lr>,<sip:proxy4>",
		"sip:proxy1", "<sip:proxy2>,<sip:proxy3;lr>,<sip:proxy4>,<sip:user@remoteua>", "sip:proxy1")
	test("sip:a@h;x?y=z", "<sip:p@q:5070;method=BYE;maddr=192.0.2.1;METHOD=x?a=b>;lr",
		"sip:p@q:5070;maddr=192.0.2.1", "<sip:a@h;x?y=z>", "sip:p@q:5070;maddr=192.0.2.1")
	test(callee, "<sip:user;lr@p?lr>", "sip:user;lr@p", "<"+callee+">", "sip:user;lr@p")
	test(callee, "<sip:p;lrx;x=lr>", "sip:p;lrx;x=lr", "<"+callee+">", "sip:p;lrx;x=lr")
}

func FuzzNextHop(f *testing.F) {
	f.Add("sip:user@remoteua", "<sip:proxy1>,<sip:proxy2>,<sip:proxy3;lr>,<sip:proxy4>")
	f.Add("sip:a@h;method=INVITE?Subject=x", `"P" <sip:p:5070;transport=tcp;LR=on>;z`)
	f.Add("tel:+1;method=x", "sip:p;lr")
	f.Add("", "<sip:p;method=x?y>")
	f.Fuzz(func(t *testing.T, target, routes string) {
		d := store.Dialog{Target: target, RouteSet: RouteSet([]string{routes}, true)}
		uri, got, hop := NextHop(&d)
		if u, err := ParseURI(uri); err == nil {
			if _, ok := u.Param("method"); ok || u.Headers != "" {
				t.Errorf("Request-URI %q", uri)
			}
		}
		wantURI, want, wantHop := forRequest(target), d.RouteSet, forRequest(target)
		if len(d.RouteSet) > 0 {
			wantHop = routeURI(d.RouteSet[0])
			if u, err := ParseURI(wantHop); err == nil && !hasParam(u.Params, "lr") {
				wantURI, wantHop = forRequest(wantHop), forRequest(wantHop)
				want = append(slices.Clone(d.RouteSet[1:]), "<"+target+">")
			}
		}
		if uri != wantURI || !slices.Equal(got, want) || hop != wantHop {
			t.Errorf("target %q, routes %q:\ngot  %q, %q, %q\nwant %q, %q, %q",
				target, d.RouteSet, uri, got, hop, wantURI, want, wantHop)
		}
	})
}

func BenchmarkNextHop(b *testing.B) {
	bench := func(d store.Dialog) func(*testing.B) {
		return func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				NextHop(&d)
			}
		}
	}
	b.Run("direct", bench(store.Dialog{Target: "sip:alice@192.0.2.4:5070"}))
	b.Run("loose", bench(store.Dialog{
		Target:   "sip:alice@192.0.2.4:5070;transport=tcp",
		RouteSet: []string{"<sip:p1.example.com;lr>", "<sip:p2.example.com;lr>"},
	}))
	b.Run("strict", bench(store.Dialog{
		Target:   "sip:alice@192.0.2.4:5070;transport=tcp",
		RouteSet: []string{"<sip:p1.example.com>", "<sip:p2.example.com;lr>"},
	}))
}
