package daemon

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"sipvigil/b2bua/dialog"
	"sipvigil/store/redis"
)

// hostPattern is what a name of a host looks like.
var hostPattern = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$`)

// isLoopback says whether only this host reaches an address.
func isLoopback(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// ParseListen takes apart where to listen, such as udp://host:port.
func ParseListen(s string) (network, address string, err error) {
	network, address, ok := strings.Cut(s, "://")
	if !ok || !slices.Contains([]string{"udp", "tcp", "tls", "ws", "wss"}, network) {
		return "", "", fmt.Errorf("%q is not udp://host:port, or the like with tcp, tls, ws or wss", s)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || !isHost(host) || !isPort(port, 0) {
		return "", "", fmt.Errorf("%q is not %s://host:port; 0.0.0.0 and [::] stand for every address", s, network)
	}
	return network, address, nil
}

// ParseSource reads a network such as 192.0.2.0/24, or one address.
func ParseSource(s string) (netip.Prefix, error) {
	if ip, err := netip.ParseAddr(s); err == nil && ip.Zone() == "" {
		ip = ip.Unmap()
		return netip.PrefixFrom(ip, ip.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return netip.Prefix{}, fmt.Errorf("%q is not a network such as 192.0.2.0/24 or an address", s)
	case p != p.Masked():
		return netip.Prefix{}, fmt.Errorf("%q has bits set beyond its mask: %s is meant, or an address without a mask", s, p.Masked())
	}
	return p, nil
}

// checkTarget says why a text is not the URI of a peer.
func checkTarget(s string) error {
	u, err := dialog.ParseURI(s)
	if err != nil || u.Scheme != "sip" || u.Headers != "" {
		return errors.New("is not a SIP URI such as sip:192.0.2.10:5060;transport=udp")
	}
	t, ok := u.Param("transport")
	if ok && !slices.Contains([]string{"udp", "tcp", "tls"}, strings.ToLower(t)) {
		return fmt.Errorf("has transport %s, where only udp, tcp and tls can be connected to", t)
	}
	return nil
}

// checkStoreURL says why a text is not the URL of a store.
func checkStoreURL(s string) error {
	if s == "embedded" {
		return nil
	}
	scheme, rest, _ := strings.Cut(s, "://")
	if !slices.Contains([]string{"redis", "rediss", "redis-sentinel", "redis-cluster"}, scheme) {
		return fmt.Errorf("is no store: it is embedded, or %s", storeForms)
	}
	rest, _, _ = strings.Cut(rest, "?")
	authority, _, _ := strings.Cut(rest, "/")
	for host := range strings.SplitSeq(authority[strings.LastIndexByte(authority, '@')+1:], ",") {
		if !isHostPort(host) {
			return fmt.Errorf("has a host that is none: %q", host)
		}
	}
	if err := redis.CheckURL(s); err != nil {
		return fmt.Errorf("is no store: %w", err)
	}
	return nil
}

const storeForms = "redis://host:6379/0, rediss://…, redis-sentinel://h1,h2,h3/MASTER/0, redis-cluster://h1,h2,h3"

func isAdvertised(s string) bool {
	host := s
	if h, _, err := net.SplitHostPort(s); err == nil {
		host = h
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return !ip.IsUnspecified() && (host == s || isHostPort(s))
	}
	return isHostPort(s)
}

// isHostPort accepts host and host:port, with IPv6 addresses in brackets.
func isHostPort(s string) bool {
	host, port, err := net.SplitHostPort(s)
	if err == nil {
		return isHost(host) && isPort(port, 1)
	}
	if v6, ok := strings.CutPrefix(s, "["); ok {
		ip, err := netip.ParseAddr(strings.TrimSuffix(v6, "]"))
		return err == nil && ip.Is6() && strings.HasSuffix(v6, "]")
	}
	return !strings.Contains(s, ":") && isHost(s)
}

func isHost(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil || hostPattern.MatchString(s)
}

func isPort(s string, least int) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n >= least && n <= 65535
}
