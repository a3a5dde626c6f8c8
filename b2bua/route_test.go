package b2bua

import (
	"net"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sipvigil/b2bua/dialog"
)

func routed() *Agent {
	return &Agent{
		sockets: []socket{newSocket("udp", &net.UDPAddr{IP: net.IPv4(192, 0, 2, 5), Port: 5060}, "")},
		cfg: Config{
			Trunks: []Trunk{
				{Name: "pbx", Targets: []string{"sip:192.0.2.10"}, Sources: []netip.Prefix{netip.MustParsePrefix("192.0.2.10/32")}},
				{Name: "a", Targets: []string{"sip:198.51.100.1;transport=tcp", "sip:198.51.100.2"}},
				{Name: "b", Targets: []string{"sip:hunt@203.0.113.1:5070"}, Sources: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}},
			},
			Routes: []Route{
				{From: "pbx", User: regexp.MustCompile(`^\+?1`), To: []string{"a", "b"}},
				{From: "pbx", User: regexp.MustCompile(`^9`), To: []string{"b"}},
				{From: "b", To: []string{"pbx"}},
			},
		},
	}
}

func TestTheFirstRouteThatMatchesDecides(t *testing.T) {
	for _, c := range []struct {
		name, from, uri string
		want            []target
	}{
		{"targets of all its trunks, in order", "pbx", "sip:+1555@192.0.2.5", []target{
			{trunk: "a", uri: "sip:+1555@198.51.100.1;transport=tcp"}, {trunk: "a", uri: "sip:+1555@198.51.100.2"}, {trunk: "b", uri: "sip:hunt@203.0.113.1:5070"}}},
		{"by the user", "pbx", "sip:900@192.0.2.5", []target{{trunk: "b", uri: "sip:hunt@203.0.113.1:5070"}}},
		{"by the trunk it comes from", "b", "sip:900@192.0.2.5", []target{{trunk: "pbx", uri: "sip:900@192.0.2.10"}}},
		{"else the Request-URI", "pbx", "sip:bob@192.0.2.77:5090;user=phone", []target{{trunk: OtherTrunk, uri: "sip:bob@192.0.2.77:5090;user=phone"}}},
		{"unless that is ourselves", "pbx", "sip:bob@192.0.2.5", nil},
		{"which another port is not", "pbx", "sip:bob@192.0.2.5:5062", []target{{trunk: OtherTrunk, uri: "sip:bob@192.0.2.5:5062"}}},
	} {
		uri, err := dialog.ParseURI(c.uri)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, routed().route(query{from: c.from, uri: uri}), cmp.AllowUnexported(target{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestAURIIsOursByTheAddressOfASocketAndByTheOneThatIsAdvertised(t *testing.T) {
	at, at6 := net.IPv4(192, 0, 2, 5), net.ParseIP("2001:db8::5")
	for uri, want := range map[string]string{
		"sip:192.0.2.5": "plain other named", "sip:192.0.2.5:5060": "plain other named", "sip:[2001:db8::5]": "six", "sip:192.0.2.5:5080": "other",
		"sip:sip.example.com": "other named", "sip:SIP.Example.COM.": "other named", "sip:[2001:DB8:0::7]": "six",
		"sip:sip.example.com:5080": "other", "sip:sip.example.com:5070": "",
		"sip:sip.example.com;transport=tcp": "", "sip:192.0.2.6": "", "sip:example.com": "",
	} {
		u, err := dialog.ParseURI(uri)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, c := range []struct {
			name, advertise string
			at              net.IP
		}{{"plain", "", at}, {"other", "sip.example.com:5080", at}, {"named", "sip.example.com", at}, {"six", "2001:db8::7", at6}} {
			if a := (&Agent{sockets: []socket{newSocket("udp", &net.UDPAddr{IP: c.at, Port: 5060}, c.advertise)}}); a.isOurURI(u) {
				got = append(got, c.name)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s is ours where we are %q, want %q", uri, got, want)
		}
	}
}

func TestTheNextHopGoesBeforeRoutes(t *testing.T) {
	a := routed()
	a.cfg.NextHop = "sip:198.51.100.2"
	got := a.route(query{from: "pbx", uri: dialog.URI{Scheme: "sip", User: "900", Host: "192.0.2.5"}})
	want := []target{{trunk: "a", uri: "sip:900@198.51.100.2"}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(target{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestCallsAreTakenFromTrunksElseFromThisMachine(t *testing.T) {
	a := routed()
	for source, want := range map[string]string{
		"192.0.2.10:5060": "pbx", "203.0.113.99:1": "b", "198.51.100.1:5060": OtherTrunk, "127.0.0.1:5060": OtherTrunk,
		"[::ffff:192.0.2.10]:5060": "pbx", "nonsense": OtherTrunk,
	} {
		ip := addrOf(source)
		trunk := a.trunkOf(ip)
		if trunk != want || a.mayCall(ip) != (want != OtherTrunk) {
			t.Errorf("%s: trunk %s, may call %v, want %s", source, trunk, a.mayCall(ip), want)
		}
	}
	a.cfg.Trunks = append([]Trunk{{Name: "phones", Sources: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}}}, a.cfg.Trunks...)
	for source, want := range map[string]string{"192.0.2.10:5060": "pbx", "203.0.113.99:1": "b", "198.51.100.1:5060": "phones"} {
		if trunk := a.trunkOf(addrOf(source)); trunk != want {
			t.Errorf("%s with phones anywhere: trunk %s, want %s", source, trunk, want)
		}
	}
	a.cfg.Trunks = a.cfg.Trunks[2:3] // none says where its calls come from
	for source, want := range map[string]bool{"127.0.0.9:5060": true, "[::1]:5060": true, "198.51.100.1:5060": false} {
		if got := a.mayCall(addrOf(source)); got != want {
			t.Errorf("%s without sources: may call %v, want %v", source, got, want)
		}
	}
}
