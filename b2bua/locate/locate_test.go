package locate_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"sipvigil/b2bua/dialog"
	"sipvigil/b2bua/locate"
	"sipvigil/test/zone"
)

// all is a socket of each kind.
var all = sockets("udp", "tcp", "tls")

// sockets are some of IPv4, or of IPv6 where a "6" follows.
func sockets(kinds ...string) []locate.Socket {
	var list []locate.Socket
	for _, k := range kinds {
		t, v6 := strings.CutSuffix(k, "6")
		list = append(list, locate.Socket{Transport: t, IPv6: v6})
	}
	return list
}

// place is a resolver in a bubble, and the DNS server that it asks.
type place struct {
	*testing.T
	zone     *zone.Zone
	resolver *locate.Resolver
}

// inPlace runs a test in a bubble. Of servers with the same weight the first is
// drawn.
func inPlace(t *testing.T, records string, f func(p *place)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		z := zone.New(records)
		f(&place{t, z, locate.New(locate.Config{
			Server: "192.0.2.53:53", Hosts: filepath.Join(t.TempDir(), "none"), Dial: z.Dial,
			Draw: func(n int) int { return n - 1 },
		})})
	})
}

// find checks the hops of a URI, one a word: "udp:192.0.2.1:5060".
func (p *place) find(uri string, with []locate.Socket, want string) {
	p.Helper()
	got, err := p.try(uri, with)
	if err != nil {
		got = "error: " + err.Error()
	}
	if got != want {
		p.Errorf("%s\n got %s\nwant %s", uri, got, want)
	}
}

// fails checks that there is no hop, and how that is said.
func (p *place) fails(uri string, with []locate.Socket, want string) {
	p.Helper()
	if got, err := p.try(uri, with); err == nil || !strings.Contains(err.Error(), want) {
		p.Errorf("%s: got %s, %v, want an error with %q", uri, got, err, want)
	}
}

func (p *place) try(uri string, with []locate.Socket) (string, error) {
	p.Helper()
	u, err := dialog.ParseURI(uri)
	if err != nil {
		p.Fatal(err)
	}
	hops, err := p.resolver.Find(context.Background(), u, with)
	return words(hops), err
}

func words(hops []locate.Hop) string {
	var list []string
	for _, h := range hops {
		list = append(list, fmt.Sprintf("%s:%s", h.Transport, h.Addr))
	}
	return strings.Join(list, " ")
}

// asked checks what the server was asked since the last time.
func (p *place) asked(want ...string) {
	p.Helper()
	if diff := cmp.Diff(want, p.zone.Asked()); diff != "" {
		p.Errorf("asked (-want +got):\n%s", diff)
	}
}

func TestAURIWithAnAddressIsNotLookedUp(t *testing.T) {
	inPlace(t, "", func(p *place) {
		for _, c := range []struct {
			uri  string
			with []locate.Socket
			want string
		}{
			{"sip:192.0.2.1", all, "udp:192.0.2.1:5060"},
			{"sip:ann@192.0.2.1:5080", all, "udp:192.0.2.1:5080"},
			{"sip:192.0.2.1;transport=TCP", all, "tcp:192.0.2.1:5060"},
			{"sip:192.0.2.1;transport=tcp", sockets("udp"), "tcp:192.0.2.1:5060"},
			{"sip:192.0.2.1;transport=udp", sockets("tcp"), "udp:192.0.2.1:5060"},
			{"sip:192.0.2.1", sockets("tcp"), "tcp:192.0.2.1:5060"},
			{"sip:192.0.2.1;transport=tls", all, "tls:192.0.2.1:5061"},
			{"sips:192.0.2.1", all, "tls:192.0.2.1:5061"},
			{"sips:192.0.2.1:5071", all, "tls:192.0.2.1:5071"},
			{"sips:192.0.2.1;transport=tcp", all, "tls:192.0.2.1:5061"},
			{"sip:[2001:db8::1]", all, "udp:[2001:db8::1]:5060"},
			{"sip:[::ffff:192.0.2.1]", all, "udp:192.0.2.1:5060"},
			{"sip:carrier.example;maddr=192.0.2.9", all, "udp:192.0.2.9:5060"},
			{"sip:carrier.example:5070;maddr=[2001:db8::9];transport=tcp", all, "tcp:[2001:db8::9]:5070"},
		} {
			p.find(c.uri, c.with, c.want)
		}
		p.asked()
	})
}

func TestWhatCannotBeReachedIsNotLookedUp(t *testing.T) {
	inPlace(t, "", func(p *place) {
		for _, c := range []struct {
			uri  string
			with []locate.Socket
			want string
		}{
			{"tel:+15550100", all, "only sip and sips"},
			{"sip:192.0.2.1;transport=sctp", all, `transport "sctp"`},
			{"sip:ann.invalid;transport=ws", sockets("udp", "ws"), `transport "ws"`},
			{"sips:192.0.2.1;transport=udp", all, `transport "udp"`},
			{"sips:192.0.2.1", sockets("udp", "tcp"), "no socket of its transport"},
			{"sip:192.0.2.1;transport=tls", sockets("udp", "tcp"), "no socket of its transport"},
			{"sip:carrier.example", nil, "no socket of its transport"},
			{"sip:0.0.0.0", all, "the address of no host"},
			{"sip:[::]", all, "the address of no host"},
			{"sip:carrier.example;maddr=224.0.1.75", all, "the address of no host"},
			{"sip:255.255.255.255", all, "the address of no host"},
			{"sip:carrier.example;maddr=a..b", all, "neither an address nor a name"},
			{"sip:carrier.example;maddr", all, "neither an address nor a name"},
			{"sip:carrier.example;maddr=fe80::1%25eth0", all, "neither an address nor a name"},
		} {
			p.fails(c.uri, c.with, c.want)
		}
		p.asked()
	})
}

// carrier is the example of RFC 3263 section 4.1, with addresses.
const carrier = `
carrier.example.            60 IN NAPTR 50  50 "s" "SIPS+D2T" "" _sips._tcp.carrier.example.
carrier.example.            60 IN NAPTR 90  50 "s" "SIP+D2T"  "" _sip._tcp.carrier.example.
carrier.example.            60 IN NAPTR 100 50 "S" "sip+d2u"  "" _sip._udp.carrier.example.
_sips._tcp.carrier.example. 60 IN SRV   0 1 5061 one.carrier.example.
_sip._tcp.carrier.example.  60 IN SRV   0 1 5062 one.carrier.example.
_sip._tcp.carrier.example.  60 IN SRV   1 1 5063 two.carrier.example.
_sip._udp.carrier.example.  60 IN SRV   0 1 5064 two.carrier.example.
carrier.example.            60 IN A     192.0.2.99
one.carrier.example.        60 IN A     192.0.2.1
one.carrier.example.        60 IN AAAA  2001:db8::1
two.carrier.example.        60 IN A     192.0.2.2
two.carrier.example.        60 IN A     192.0.2.3
`

func TestNAPTRChoosesTheTransport(t *testing.T) {
	inPlace(t, carrier, func(p *place) {
		p.find("sip:carrier.example", all, "tls:192.0.2.1:5061")
		p.asked("carrier.example NAPTR", "_sips._tcp.carrier.example SRV", "one.carrier.example A")
		p.find("sip:carrier.example", sockets("tcp", "udp"), "tcp:192.0.2.1:5062 tcp:192.0.2.2:5063 tcp:192.0.2.3:5063")
		p.find("sip:Carrier.Example.", sockets("udp"), "udp:192.0.2.2:5064 udp:192.0.2.3:5064")
		p.find("sips:carrier.example", all, "tls:192.0.2.1:5061")
	})
}

func TestAPortOrATransportInTheURIShortensTheWay(t *testing.T) {
	inPlace(t, carrier, func(p *place) {
		p.find("sip:carrier.example:5060", all, "udp:192.0.2.99:5060")
		p.asked("carrier.example A")
		p.find("sip:carrier.example;transport=udp", all, "udp:192.0.2.2:5064 udp:192.0.2.3:5064")
		p.asked("_sip._udp.carrier.example SRV", "two.carrier.example A")
		p.find("sip:carrier.example;transport=tls", all, "tls:192.0.2.1:5061")
		p.asked("_sips._tcp.carrier.example SRV", "one.carrier.example A")
		p.find("sips:carrier.example:5099;transport=tcp", all, "tls:192.0.2.99:5099")
		p.asked()
	})
}

func TestWithoutNAPTREachTransportIsAskedFor(t *testing.T) {
	records := strings.Join(strings.SplitN(carrier, "\n", 6)[5:], "\n") // without the four lines before SRV
	records = strings.ReplaceAll(records, "_sips._tcp.", "_else.")
	inPlace(t, records, func(p *place) {
		p.find("sip:carrier.example", all, "udp:192.0.2.2:5064 udp:192.0.2.3:5064 tcp:192.0.2.1:5062 tcp:192.0.2.2:5063 tcp:192.0.2.3:5063")
		p.find("sips:carrier.example", all, "tls:192.0.2.99:5061")
		p.find("sip:one.carrier.example", all, "udp:192.0.2.1:5060")
	})
}

func TestNAPTRRecordsThatAreNotForUsAreLeftOut(t *testing.T) {
	inPlace(t, `
a.example. 60 IN NAPTR 1 1 "u" "E2U+sip"  "!^.*$!sip:x@y!" .
a.example. 60 IN NAPTR 2 1 "s" "SIP+D2S"  "" _sip._sctp.a.example.
a.example. 60 IN NAPTR 3 1 "s" "SIP+D2U"  "!.*!evil.example!" _sip._udp.a.example.
a.example. 60 IN NAPTR 4 1 ""  "SIP+D2U"  "" _sip._udp.a.example.
a.example. 60 IN NAPTR 5 1 "s" "SIP+D2T"  "" _sip._none.a.example.
a.example. 60 IN NAPTR 6 9 "s" "SIP+D2U"  "" _sip._udp.a.example.
a.example. 60 IN NAPTR 6 8 "s" "SIP+D2T"  "" _sip._tcp.a.example.
a.example. 60 IN NAPTR 7 1 "s" "SIP+D2T"  "" _sip._last.a.example.
_sip._udp.a.example.  60 IN SRV 0 0 5060 h.a.example.
_sip._tcp.a.example.  60 IN SRV 0 0 5061 h.a.example.
_sip._last.a.example. 60 IN SRV 0 0 5062 h.a.example.
h.a.example.          60 IN A 192.0.2.7
`, func(p *place) {
		p.find("sip:a.example", all, "tcp:192.0.2.7:5061 udp:192.0.2.7:5060")
	})
}

func TestAServiceThatIsSaidNotToBeThereIsNotReplacedByTheHost(t *testing.T) {
	inPlace(t, `
a.example.           60 IN A   192.0.2.1
_sip._udp.a.example. 60 IN SRV 0 0 0 .
b.example.           60 IN A   192.0.2.1
_sip._udp.b.example. 60 IN SRV 0 0 5060 gone.b.example.
`, func(p *place) {
		p.fails("sip:a.example", sockets("udp"), "no such service")
		p.fails("sip:b.example", sockets("udp"), "no server of _sip._udp.b.example")
	})
}

func TestFamiliesAreThoseOfTheSockets(t *testing.T) {
	inPlace(t, carrier, func(p *place) {
		p.find("sip:one.carrier.example:5060", sockets("udp"), "udp:192.0.2.1:5060")
		p.find("sip:one.carrier.example:5060", sockets("udp6"), "udp:[2001:db8::1]:5060")
		p.find("sip:one.carrier.example:5060", sockets("udp6", "udp"), "udp:[2001:db8::1]:5060 udp:192.0.2.1:5060")
		p.find("sip:one.carrier.example:5060", sockets("tcp6", "udp", "udp6"), "udp:192.0.2.1:5060 udp:[2001:db8::1]:5060")
		p.find("sip:one.carrier.example:5060;transport=tcp", sockets("udp6"), "tcp:[2001:db8::1]:5060")
		p.fails("sip:two.carrier.example:5060", sockets("udp6"), "no address that a socket of ours reaches")
	})
}

func TestThereIsAnEndToHops(t *testing.T) {
	var b strings.Builder
	for i := range 60 {
		fmt.Fprintf(&b, "_sip._udp.big.example. 60 IN SRV %d 0 5060 h%d.big.example.\n", i, i)
		fmt.Fprintf(&b, "h%d.big.example. 60 IN A 192.0.2.%d\n", i, i+1)
		fmt.Fprintf(&b, "big.example. 60 IN A 198.51.100.%d\n", i)
	}
	inPlace(t, b.String(), func(p *place) {
		got, err := p.try("sip:big.example", sockets("udp"))
		if n := len(strings.Fields(got)); err != nil || n != 16 {
			p.Errorf("%d hops, %v", n, err)
		}
		if n := len(p.zone.Asked()); n != 18 { // NAPTR, SRV, and 16 addresses
			p.Errorf("%d questions", n)
		}
		got, _ = p.try("sip:big.example:5060", sockets("udp"))
		if n := len(strings.Fields(got)); n != 16 {
			p.Errorf("%d hops of one name", n)
		}
	})
}

func TestHostsInAFileAndLocalhostAreNotAskedFor(t *testing.T) {
	file := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(file, []byte("# hosts\n192.0.2.40 pbx.example pbx # ours\nnonsense pbx\n::1%lo pbx\n2001:db8::40 PBX\n192.0.2.41 pbx.\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		z := zone.New("")
		p := &place{t, z, locate.New(locate.Config{Server: "192.0.2.53:53", Hosts: file, Dial: z.Dial})}
		both := sockets("udp", "udp6")
		p.find("sip:pbx:5060", both, "udp:192.0.2.40:5060 udp:192.0.2.41:5060 udp:[2001:db8::40]:5060")
		p.find("sip:pbx.example:5060", both, "udp:192.0.2.40:5060")
		p.find("sip:localhost:5060", both, "udp:127.0.0.1:5060 udp:[::1]:5060")
		p.asked()
		p.find("sip:pbx", sockets("udp"), "udp:192.0.2.40:5060 udp:192.0.2.41:5060")
		p.asked("pbx NAPTR", "_sip._udp.pbx SRV")
	})
}

func TestARealServerIsAskedOverUDPAndForLongAnswersOverTCP(t *testing.T) {
	var b strings.Builder
	for i := range 120 { // more than fits one datagram
		fmt.Fprintf(&b, "long.example. 60 IN A 192.0.2.%d\n", i+1)
	}
	z := zone.New(carrier + b.String())
	addr, stop, err := z.Listen()
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	p := &place{t, z, locate.New(locate.Config{Server: addr})}
	p.find("sip:carrier.example", sockets("udp"), "udp:192.0.2.2:5064 udp:192.0.2.3:5064")
	p.asked("carrier.example NAPTR", "_sip._udp.carrier.example SRV", "two.carrier.example A")
	got, err := p.try("sip:long.example:5060", sockets("udp"))
	if err != nil || len(strings.Fields(got)) != 16 {
		t.Errorf("over TCP: %s, %v", got, err)
	}
	p.asked("long.example A", "long.example A")
}
