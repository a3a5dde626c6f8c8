package locate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Bounds of one question.
const (
	exchangeTime = time.Second // one server, once
	attempts     = 2           // of every server
	maxAsked     = 3           // servers, as in resolv.conf(5)
	maxRecords   = 64          // of an answer that are kept
	maxAliases   = 8           // CNAME records that are followed
	datagram     = 1232        // the largest answer over UDP: what IPv6 carries unfragmented
	resolvConf   = "/etc/resolv.conf"
)

// The types of records that are asked for.
const (
	typeA     = dns.TypeA
	typeAAAA  = dns.TypeAAAA
	typeSRV   = dns.TypeSRV
	typeNAPTR = dns.TypeNAPTR
)

// errSilent: no DNS server answered.
var errSilent = errors.New("no DNS server answers")

// rr is what is used of a record: an address, an SRV or a NAPTR record.
type rr struct {
	ip     netip.Addr
	target string // lower case, without a dot at its end; empty for the root

	priority, weight, port uint16 // SRV

	order, preference      uint16 // NAPTR
	flags, service, regexp string
}

// answer is what a server said.
type answer struct {
	rrs     []rr
	ttl     time.Duration
	missing bool  // the name does not exist at all
	err     error // no server could say
}

// domain is the name of a host or service as we keep it; false when it is the
// root, or holds what no such name does.
func domain(s string) (string, bool) {
	s = strings.ToLower(strings.TrimSuffix(s, "."))
	_, ok := dns.IsDomainName(s)
	if !ok || strings.ContainsFunc(s, func(c rune) bool {
		return !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.')
	}) {
		return "", false
	}
	return s, s != ""
}

// ask finds the answer: addresses may be in the hosts file, and a host's name
// may be short, so that the search list applies to it.
func (r *Resolver) ask(ctx context.Context, q question) answer {
	address := q.qtype == typeA || q.qtype == typeAAAA
	if address {
		if ips, found := hosts(r.cfg.Hosts, q.name); found {
			return fromHosts(ips, q.qtype)
		}
	}
	conf := r.servers()
	names := []string{dns.Fqdn(q.name)}
	if address {
		names = candidates(conf, q.name)
	}
	var a answer
	for _, name := range names {
		a = r.askServers(ctx, conf, name, q.qtype)
		if !a.missing {
			break
		}
	}
	return a
}

// servers reads who is to be asked, each time, so that a change is seen.
func (r *Resolver) servers() *dns.ClientConfig {
	if r.cfg.Server != "" {
		if host, port, err := net.SplitHostPort(r.cfg.Server); err == nil {
			return &dns.ClientConfig{Servers: []string{host}, Port: port}
		}
	}
	conf, err := dns.ClientConfigFromFile(resolvConf)
	if err != nil || len(conf.Servers) == 0 {
		return &dns.ClientConfig{Servers: []string{"127.0.0.1"}, Port: "53"}
	}
	conf.Servers = conf.Servers[:min(len(conf.Servers), maxAsked)]
	return conf
}

// candidates are the full names that a host's name may stand for. One with dots
// is first taken as it is.
func candidates(conf *dns.ClientConfig, name string) []string {
	full := dns.Fqdn(name)
	if !strings.Contains(name, ".") {
		return conf.NameList(name)
	}
	names := []string{full}
	if strings.Count(name, ".") < conf.Ndots {
		for _, n := range conf.NameList(name) {
			if n != full {
				names = append(names, n)
			}
		}
	}
	return names
}

// askServers asks one server after the other. One that fails may know less than
// the next.
func (r *Resolver) askServers(ctx context.Context, conf *dns.ClientConfig, name string, qtype uint16) answer {
	q := new(dns.Msg)
	q.SetQuestion(name, qtype)
	q.SetEdns0(datagram, false)
	failed := answer{ttl: failureTTL, err: errSilent}
	for range attempts {
		for _, host := range conf.Servers {
			if ctx.Err() != nil {
				return failed
			}
			m, err := r.exchange(ctx, net.JoinHostPort(host, conf.Port), q)
			if err != nil {
				continue
			}
			a := read(q.Question[0], m)
			if a.err == nil {
				return a
			}
			failed = a
		}
		if !errors.Is(failed.err, errSilent) {
			break // they have said what they can
		}
	}
	return failed
}

// exchange asks one server, over TCP when the answer is too long for UDP.
func (r *Resolver) exchange(ctx context.Context, server string, q *dns.Msg) (*dns.Msg, error) {
	m, err := r.exchangeOver(ctx, "udp", server, q)
	if err == nil && m.Truncated {
		return r.exchangeOver(ctx, "tcp", server, q)
	}
	return m, err
}

func (r *Resolver) exchangeOver(ctx context.Context, network, server string, q *dns.Msg) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, exchangeTime)
	defer cancel()
	conn, err := r.cfg.Dial(ctx, network, server)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })
	defer stop()
	c := &dns.Conn{Conn: conn, UDPSize: datagram}
	q.Id = dns.Id() // a new one each time, from a new port: hard to guess
	if err := c.WriteMsg(q); err != nil {
		return nil, err
	}
	for {
		m, err := c.ReadMsg()
		if err == nil && answers(q, m) {
			return m, nil
		}
		var unreadable *dns.Error
		if err != nil && !errors.As(err, &unreadable) || network != "udp" {
			return nil, cmp.Or(err, errors.New("answer to another question"))
		}
		// What is no answer to us may be forged: the real one may still come.
	}
}

// answers says whether m is an answer to the question.
func answers(q, m *dns.Msg) bool {
	if !m.Response || m.Id != q.Id || m.Opcode != dns.OpcodeQuery || len(m.Question) != 1 {
		return false
	}
	asked, said := q.Question[0], m.Question[0]
	return asked.Qtype == said.Qtype && asked.Qclass == said.Qclass && strings.EqualFold(asked.Name, said.Name)
}

// read takes what belongs to the question out of an answer.
func read(q dns.Question, m *dns.Msg) answer {
	if m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
		return answer{ttl: failureTTL, err: fmt.Errorf("DNS server answers %s for %s", dns.RcodeToString[m.Rcode], q.Name)}
	}
	a := answer{ttl: maxTTL}
	owner := q.Name
	for range maxAliases {
		var alias *dns.CNAME
		for _, v := range m.Answer {
			h := v.Header()
			if h.Class != dns.ClassINET || !strings.EqualFold(h.Name, owner) {
				continue
			}
			if c, ok := v.(*dns.CNAME); ok && alias == nil {
				alias = c
			}
			if h.Rrtype == q.Qtype && len(a.rrs) < maxRecords {
				if one, ok := use(v); ok {
					a.rrs, a.ttl = append(a.rrs, one), min(a.ttl, lifetime(h.Ttl))
				}
			}
		}
		if len(a.rrs) > 0 {
			return a
		}
		if alias == nil {
			break
		}
		owner, a.ttl = alias.Target, min(a.ttl, lifetime(alias.Hdr.Ttl))
	}
	return answer{ttl: min(a.ttl, negative(m)), missing: m.Rcode == dns.RcodeNameError}
}

// use takes a record apart.
func use(v dns.RR) (rr, bool) {
	switch v := v.(type) {
	case *dns.A:
		ip, ok := netip.AddrFromSlice(v.A)
		return rr{ip: ip.Unmap()}, ok
	case *dns.AAAA:
		ip, ok := netip.AddrFromSlice(v.AAAA)
		return rr{ip: ip.Unmap()}, ok
	case *dns.SRV:
		target, _ := domain(v.Target)
		return rr{target: target, priority: v.Priority, weight: v.Weight, port: v.Port}, true
	case *dns.NAPTR:
		target, ok := domain(v.Replacement)
		return rr{target: target, order: v.Order, preference: v.Preference,
			flags: v.Flags, service: v.Service, regexp: v.Regexp}, ok
	}
	return rr{}, false
}

// lifetime is a TTL; one with the highest bit set is none, RFC 2181 section 8.
func lifetime(ttl uint32) time.Duration {
	if ttl>>31 != 0 {
		return 0
	}
	return time.Duration(ttl) * time.Second
}

// negative is how long "there is none" holds, RFC 2308 section 5.
func negative(m *dns.Msg) time.Duration {
	for _, v := range m.Ns {
		if soa, ok := v.(*dns.SOA); ok {
			return min(lifetime(soa.Hdr.Ttl), lifetime(soa.Minttl), maxNegative)
		}
	}
	return negativeTTL
}
