package ua

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// splitList takes a comma-separated list apart, minding quoted strings and
// what stands between angle brackets.
func splitList(s string) []string {
	var parts []string
	start := 0
	scan(s, func(i int, c byte) bool {
		if c == ',' {
			parts = append(parts, strings.TrimSpace(s[start:i]))
			start = i + 1
		}
		return true
	})
	if last := strings.TrimSpace(s[start:]); last != "" || len(parts) > 0 {
		parts = append(parts, last)
	}
	return parts
}

// scan calls f for every byte outside quoted strings and angle brackets until
// f returns false.
func scan(s string, f func(i int, c byte) bool) {
	quoted, bracketed := false, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"' && !bracketed:
			quoted = !quoted
		case quoted:
		case c == '<':
			bracketed = true
		case c == '>':
			bracketed = false
		case bracketed:
		default:
			if !f(i, c) {
				return
			}
		}
	}
}

// param is the value of a header parameter (not of a URI parameter inside
// angle brackets); empty when it is missing or has no value.
func param(field, name string) string {
	value, _ := findParam(field, name)
	return value
}

// findParam also says whether the parameter is there at all.
func findParam(field, name string) (value string, found bool) {
	parts := splitParams(field)
	for _, p := range parts[1:] {
		key, value, _ := strings.Cut(p, "=")
		if strings.EqualFold(strings.TrimSpace(key), name) {
			return strings.TrimSpace(value), true
		}
	}
	return "", false
}

// splitParams is what stands before the first semicolon, then each parameter.
func splitParams(field string) []string {
	var parts []string
	start := 0
	scan(field, func(i int, c byte) bool {
		if c == ';' {
			parts = append(parts, field[start:i])
			start = i + 1
		}
		return true
	})
	return append(parts, field[start:])
}

// addressURI is the URI in a From, To, Contact, Route or Record-Route value.
func addressURI(field string) string {
	open := -1
	quoted := false
	for i := 0; i < len(field); i++ {
		switch {
		case quoted && field[i] == '\\':
			i++
		case field[i] == '"':
			quoted = !quoted
		case field[i] == '<' && !quoted:
			open = i
		case field[i] == '>' && open >= 0 && !quoted:
			return field[open+1 : i]
		}
	}
	return strings.TrimSpace(splitParams(field)[0])
}

// uriHas tells whether a URI has this parameter.
func uriHas(uri, name string) bool {
	uri, _, _ = strings.Cut(uri, "?")
	for _, p := range strings.Split(uri, ";")[1:] {
		key, _, _ := strings.Cut(p, "=")
		if strings.EqualFold(key, name) {
			return true
		}
	}
	return false
}

// uriHost is host and port of a SIP URI, with port 5060 when it names none.
func uriHost(uri string) (string, error) {
	scheme, rest, found := strings.Cut(uri, ":")
	if !found || !strings.EqualFold(scheme, "sip") && !strings.EqualFold(scheme, "sips") {
		return "", errors.New("not a SIP URI: " + uri)
	}
	rest, _, _ = strings.Cut(rest, "?")
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		rest = rest[at+1:]
	}
	rest, _, _ = strings.Cut(rest, ";")
	return withPort(rest), nil
}

// withPort adds port 5060 to a host that has none.
func withPort(host string) string {
	if strings.HasSuffix(host, "]") || !strings.Contains(host, ":") {
		return host + ":5060"
	}
	return host
}

// resolve turns "host:port" or a SIP URI into an address. Names are looked up
// by the system, without SRV or NAPTR.
func resolve(target string) (netip.AddrPort, error) {
	if scheme, _, _ := strings.Cut(target, ":"); strings.EqualFold(scheme, "sip") || strings.EqualFold(scheme, "sips") {
		host, err := uriHost(target)
		if err != nil {
			return netip.AddrPort{}, err
		}
		target = host
	}
	target = withPort(target)
	if addr, err := netip.ParseAddrPort(target); err == nil {
		return unmap(addr), nil
	}
	addr, err := net.ResolveTCPAddr("tcp", target)
	if err != nil {
		return netip.AddrPort{}, err
	}
	return unmap(addr.AddrPort()), nil
}

// unmap writes an IPv4 address always the same way, so that it can be a key.
func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// parseCSeq reads "number method". The number is below 2^31 (RFC 3261 section 8.1.1.5).
func parseCSeq(value string) (uint32, string, error) {
	fields := strings.Fields(value)
	if len(fields) != 2 || !isToken(fields[1]) || !isDigits(fields[0]) {
		return 0, "", errors.New("broken CSeq: " + value)
	}
	number, err := strconv.ParseUint(fields[0], 10, 31)
	if err != nil {
		return 0, "", errors.New("broken CSeq: " + value)
	}
	return uint32(number), fields[1], nil
}
