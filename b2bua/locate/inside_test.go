package locate

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"sipvigil/b2bua/dialog"
)

func TestSRVRecordsAreDrawnByPriorityAndWeight(t *testing.T) {
	rrs := []rr{
		{target: "c", priority: 2, weight: 5}, {target: "big", priority: 1, weight: 3},
		{target: "small", priority: 1, weight: 1}, {target: "zero", priority: 1}, {target: "d", priority: 2},
	}
	for _, c := range []struct {
		draws []int // of 0…4, then of what is left
		want  string
	}{
		{[]int{0, 0, 0, 0, 0}, "zero big small d c"},
		{[]int{1, 0, 0, 0, 0}, "big zero small d c"},
		{[]int{3, 1, 0, 1, 0}, "big small zero c d"},
		{[]int{4, 3, 0, 5, 0}, "small big zero c d"},
	} {
		var bounds []int
		draws := c.draws
		var got []string
		for _, v := range arrange(rrs, func(n int) int {
			bounds = append(bounds, n)
			d := draws[0]
			draws = draws[1:]
			return d
		}) {
			got = append(got, v.target)
		}
		if strings.Join(got, " ") != c.want || bounds[0] != 5 {
			t.Errorf("draws %v: %v below %v, want %s", c.draws, got, bounds, c.want)
		}
	}
	if rrs[0].target != "c" {
		t.Error("the records in memory were rearranged")
	}
}

func TestLoadIsSharedByWeight(t *testing.T) {
	first := make(map[string]int)
	draw := rand.New(rand.NewPCG(1, 2)).IntN
	for range 10000 {
		first[arrange([]rr{{target: "one", weight: 10}, {target: "three", weight: 30}, {target: "none"}}, draw)[0].target]++
	}
	if n := first["one"]; n < 2300 || n > 2700 || first["none"] > 350 {
		t.Errorf("first: %v", first)
	}
}

func TestShortNamesOfHostsAreCompletedByTheSearchList(t *testing.T) {
	conf := &dns.ClientConfig{Search: []string{"ns.cluster.local", "example"}, Ndots: 5}
	few := &dns.ClientConfig{Search: []string{"example"}, Ndots: 1}
	for _, c := range []struct {
		conf *dns.ClientConfig
		name string
		want []string
	}{
		{conf, "pbx", []string{"pbx.ns.cluster.local.", "pbx.example.", "pbx."}},
		{conf, "pbx.voice", []string{"pbx.voice.", "pbx.voice.ns.cluster.local.", "pbx.voice.example."}},
		{few, "pbx.voice", []string{"pbx.voice."}},
		{&dns.ClientConfig{}, "pbx", []string{"pbx."}},
	} {
		if diff := cmp.Diff(c.want, candidates(c.conf, c.name)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// FuzzAnswers has a server answer every question with the same bytes: whatever
// they say, hops are few and usable.
func FuzzAnswers(f *testing.F) {
	for _, text := range []string{
		"a.example. 60 IN A 192.0.2.1",
		"a.example. 60 IN AAAA 2001:db8::1",
		"a.example. 60 IN CNAME a.example.",
		"a.example. 60 IN SRV 1 2 5060 a.example.",
		"a.example. 60 IN SRV 0 0 0 .",
		`a.example. 60 IN NAPTR 1 1 "s" "SIP+D2U" "" a.example.`,
		`a.example. 60 IN NAPTR 1 1 "s" "SIPS+D2T" "" .`,
	} {
		m := new(dns.Msg).SetReply(new(dns.Msg).SetQuestion("a.example.", dns.TypeA))
		for range 3 {
			v, err := dns.NewRR(text)
			if err != nil {
				f.Fatal(err)
			}
			m.Answer = append(m.Answer, v)
		}
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	sockets := []Socket{{"udp", false}, {"tcp", true}, {"tls", false}}
	f.Fuzz(func(t *testing.T, b []byte) {
		m := new(dns.Msg)
		if m.Unpack(b) != nil {
			return
		}
		s := &search{
			uri: dialog.URI{Scheme: "sip", Host: "a.example"}, sockets: sockets, draw: func(n int) int { return n / 2 },
			lookup: func(q question) ([]rr, error) {
				told := m.Copy()                // several look-ups go on at once
				for _, v := range told.Answer { // all of it is to the point
					v.Header().Name, v.Header().Class = dns.Fqdn(q.name), dns.ClassINET
				}
				a := read(dns.Question{Name: dns.Fqdn(q.name), Qtype: q.qtype, Qclass: dns.ClassINET}, told)
				if len(a.rrs) > maxRecords || a.ttl < 0 || a.ttl > maxTTL {
					t.Fatalf("%d records for %v", len(a.rrs), a.ttl)
				}
				return a.rrs, a.err
			},
		}
		hops, err := s.hops()
		if len(hops) == 0 && err == nil {
			t.Fatal("neither hops nor an error")
		}
		for _, h := range hops {
			if ip := h.Addr.Addr(); !ip.IsValid() || ip.IsUnspecified() || ip.IsMulticast() || h.Addr.Port() == 0 {
				t.Fatalf("hop %v", h)
			}
		}
	})
}
