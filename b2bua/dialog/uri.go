package dialog

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

// URI is a URI taken apart. A sip or sips URI (RFC 3261 section 19.1.1) has a
// host; a tel URI (RFC 3966 section 3) has its number in User and its
// parameters in Params; any other has all that follows the scheme in User.
type URI struct {
	Scheme  string // lower case
	User    string // as written, with the password if there is one
	Host    string // without the brackets of an IPv6 address
	Port    int    // 0 when there is none
	Params  string // as written, from the first semicolon on
	Headers string // as written, from the question mark on
}

// What can be wrong with a URI.
var (
	errUser = errors.New("malformed user part")
	errHost = errors.New("malformed host")
	errPort = errors.New("malformed port")
)

// ParseURI takes a URI apart. Host and port of a sip or sips URI are checked;
// user part, parameters and headers are only checked for what can stand in no
// URI.
func ParseURI(s string) (URI, error) {
	if err := checkURIText(s); err != nil {
		return URI{}, err
	}
	colon := schemeEnd(s)
	u := URI{Scheme: strings.ToLower(s[:colon])}
	rest := s[colon+1:]
	switch u.Scheme {
	case "sip", "sips":
		return u.parseSIP(rest)
	case "tel":
		u.User, u.Params = cut(rest, ';')
	default:
		u.User = rest
	}
	return u, nil
}

// schemeEnd is the index of the colon behind the scheme, or -1.
func schemeEnd(s string) int {
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c|0x20 && c|0x20 <= 'z':
		case i > 0 && ('0' <= c && c <= '9' || c == '+' || c == '-' || c == '.'):
		case i > 0 && c == ':':
			return i
		default:
			return -1
		}
	}
	return -1
}

// parseSIP reads what follows the scheme. By RFC 3261 section 25.1 the user
// part may hold semicolons and question marks, but no "@": the first one ends
// it.
func (u URI) parseSIP(rest string) (URI, error) {
	if at := strings.IndexByte(rest, '@'); at >= 0 {
		u.User, rest = rest[:at], rest[at+1:]
		if u.User == "" || u.User[0] == ':' || strings.IndexByte(u.User, '"') >= 0 {
			return URI{}, errUser
		}
	}
	end := strings.IndexAny(rest, ";?")
	if end < 0 {
		end = len(rest)
	}
	var err error
	if u.Host, u.Port, err = splitHost(rest[:end]); err != nil {
		return URI{}, err
	}
	u.Params, u.Headers = cut(rest[end:], '?')
	return u, nil
}

// cut splits s before the first c.
func cut(s string, c byte) (before, from string) {
	if i := strings.IndexByte(s, c); i >= 0 {
		return s[:i], s[i:]
	}
	return s, ""
}

func splitHost(s string) (host string, port int, err error) {
	var tail string
	if s != "" && s[0] == '[' {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return "", 0, errHost
		}
		host, tail = s[1:end], s[end+1:]
		if a, err := netip.ParseAddr(host); err != nil || !a.Is6() || a.Zone() != "" {
			return "", 0, errHost
		}
	} else {
		host, tail = cut(s, ':')
		if !isHost(host) {
			return "", 0, errHost
		}
	}
	if tail == "" {
		return host, 0, nil
	}
	if tail[0] != ':' {
		return "", 0, errHost
	}
	n, ok := number(tail[1:])
	if !ok || n == 0 || n > 65535 {
		return "", 0, errPort
	}
	return host, int(n), nil
}

// isHost says whether s is a host name or an IPv4 address. A name whose last
// label is a number can only be an address.
//
// Departs from RFC 3261 section 25.1: names may hold "_", and their last label
// may begin with a digit, since such names are in use.
func isHost(s string) bool {
	start := 0 // of the label
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c|0x20 && c|0x20 <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
		case c == '.' && i > start:
			start = i + 1
		default:
			return false
		}
	}
	name := strings.TrimSuffix(s, ".")
	if _, ok := number(name[strings.LastIndexByte(name, '.')+1:]); !ok {
		return s != ""
	}
	a, err := netip.ParseAddr(s)
	return err == nil && a.Is4()
}

// String writes the URI. A URI that came from [ParseURI] is written as it was,
// but for the case of the scheme and zeros before the port.
func (u URI) String() string {
	b := make([]byte, 0, len(u.Scheme)+len(u.User)+len(u.Host)+len(u.Params)+len(u.Headers)+len(":@[]:65535"))
	b = append(b, u.Scheme...)
	b = append(b, ':')
	b = append(b, u.User...)
	if u.Host != "" {
		if u.User != "" {
			b = append(b, '@')
		}
		b = u.appendHost(b, u.Port)
	}
	b = append(b, u.Params...)
	b = append(b, u.Headers...)
	return string(b)
}

// Param finds a parameter of the URI; see [Param].
func (u URI) Param(name string) (string, bool) { return Param(u.Params, name) }

// HostPort is host and port in the form that the net package takes, with
// defaultPort when the URI names none. It is meant for sip and sips.
func (u URI) HostPort(defaultPort int) string {
	port := u.Port
	if port == 0 {
		port = defaultPort
	}
	return string(u.appendHost(make([]byte, 0, len(u.Host)+len("[]:65535")), port))
}

func (u URI) appendHost(b []byte, port int) []byte {
	if strings.IndexByte(u.Host, ':') >= 0 {
		b = append(b, '[')
		b = append(b, u.Host...)
		b = append(b, ']')
	} else {
		b = append(b, u.Host...)
	}
	if port != 0 {
		b = append(b, ':')
		b = strconv.AppendInt(b, int64(port), 10)
	}
	return b
}
