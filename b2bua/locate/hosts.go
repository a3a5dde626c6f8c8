package locate

import (
	"net/netip"
	"os"
	"slices"
	"strings"
)

// hosts finds a name in a hosts file, see hosts(5). "localhost" is there also
// when it is not, RFC 6761 section 6.3.
func hosts(file, name string) (ips []netip.Addr, found bool) {
	text, _ := os.ReadFile(file) // no file, no names
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		ip, err := netip.ParseAddr(fields[0])
		if err != nil || ip.Zone() != "" {
			continue
		}
		if slices.ContainsFunc(fields[1:], func(s string) bool {
			return strings.EqualFold(strings.TrimSuffix(s, "."), name)
		}) {
			ips = append(ips, ip.Unmap())
		}
	}
	if len(ips) == 0 && name == "localhost" {
		ips = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	}
	return ips, len(ips) > 0
}

func fromHosts(ips []netip.Addr, qtype uint16) answer {
	a := answer{ttl: hostsTTL}
	for _, ip := range ips {
		if ip.Is4() == (qtype == typeA) && len(a.rrs) < maxRecords {
			a.rrs = append(a.rrs, rr{ip: ip})
		}
	}
	return a
}
