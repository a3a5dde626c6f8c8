package daemon

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Limits of what may be set.
const (
	leastInterval = time.Second
	leastTimeout  = 100 * time.Millisecond
	mostTimeout   = 32 * time.Second // RFC 3261 section 17.1.2.2: Timer F ends the transaction
	leastRing     = time.Second
	leastDuration = time.Minute
)

// probeMethods are the values of supervise.method.
var probeMethods = []string{"auto", "options", "update", "reinvite"}

var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// Validate returns every fault of the configuration, one a line.
func (c *Config) Validate() error {
	var faults []error
	validate(c, func(path, format string, args ...any) {
		faults = append(faults, fmt.Errorf("%s: %s", path, fmt.Sprintf(format, args...)))
	})
	return errors.Join(faults...)
}

// report takes one fault of the value at a path such as "trunks[0].name".
type report func(path, format string, args ...any)

func validate(c *Config, fault report) {
	if !namePattern.MatchString(c.Node) {
		fault("node", "%q is not a name of at most 63 letters, digits, '.', '_' and '-'", c.Node)
	}
	validateSIP(&c.SIP, fault)
	validateStore(&c.Store, fault)
	validateSupervise(&c.Supervise, fault)
	trunks := validateTrunks(c.Trunks, fault)
	validateTLS(c, fault)
	if c.SIP.NextHop != "" && len(c.Routes) > 0 {
		fault("routes", "have no effect beside sip.next_hop, where every call goes: give one of the two")
	}
	validateRoutes(c.Routes, trunks, fault)
	validateCDR(&c.CDR, fault)
	validateHEP(&c.HEP, fault)
	validateAdmin(&c.Admin, fault)
}

func validateSIP(s *SIP, fault report) {
	if len(s.Listen) == 0 {
		fault("sip.listen", "is empty: without a socket there are no calls")
	}
	seen := make(map[string]string)
	for i, l := range s.Listen {
		path := item("sip.listen", i)
		network, address, err := ParseListen(l)
		switch {
		case err != nil:
			fault(path, "%v", err)
		case strings.HasSuffix(address, ":0"): // any free port
		case seen[socketKind(network)+address] == network:
			fault(path, "%q is there already", l)
		case seen[socketKind(network)+address] != "":
			fault(path, "%q is on the port of another", l)
		}
		seen[socketKind(network)+address] = network
	}
	if s.Advertise != "" && !isAdvertised(s.Advertise) {
		fault("sip.advertise", "%q is not a host or host:port that peers can reach", s.Advertise)
	}
	if s.NextHop != "" {
		if err := checkTarget(s.NextHop); err != nil {
			fault("sip.next_hop", "%q %v", s.NextHop, err)
		}
	}
	if s.Unknown != "reject" && s.Unknown != "drop" {
		fault("sip.unknown", "%q is neither reject nor drop", s.Unknown)
	}
	if s.SourceCheck != "enforce" && s.SourceCheck != "log" && s.SourceCheck != "off" {
		fault("sip.source_check", "%q is neither enforce, log nor off", s.SourceCheck)
	}
	if s.Takeover != "none" && s.Takeover != "refresh" {
		fault("sip.takeover", "%q is neither none nor refresh", s.Takeover)
	}
	if s.RingTimeout < leastRing {
		fault("sip.ring_timeout", "%v is below %v", s.RingTimeout, leastRing)
	}
	if s.DNS != "" {
		if ap, err := netip.ParseAddrPort(s.DNS); err != nil || ap.Port() == 0 || ap.Addr().IsUnspecified() {
			fault("sip.dns", "%q is not the address and port of a DNS server, such as 192.0.2.53:53", s.DNS)
		}
	}
}

// validateTLS looks at what is said, not into the files: these are read when
// the sockets are bound.
func validateTLS(c *Config, fault report) {
	t := &c.SIP.TLS
	switch {
	case t.Cert == "" && t.Key != "":
		fault("sip.tls.key", "is without sip.tls.cert, the certificate that it is for")
	case t.Cert != "" && t.Key == "":
		fault("sip.tls.cert", "is without sip.tls.key, the key that it is for")
	}
	for i, l := range c.SIP.Listen {
		if network, _, err := ParseListen(l); err == nil && secure(network) && t.Cert == "" {
			fault(item("sip.listen", i), "%q needs a certificate: set sip.tls.cert and sip.tls.key to its files", l)
		}
	}
	for i := range c.Trunks {
		t, path := &c.Trunks[i], item("trunks", i)+".tls.client_name"
		switch {
		case t.TLS.ClientName == "":
		case !hostPattern.MatchString(t.TLS.ClientName):
			fault(path, "%q is not a domain name", t.TLS.ClientName)
		case len(t.Sources) == 0:
			fault(path, "has no effect without sources, by which requests of the trunk are known")
		case c.SIP.TLS.ClientCA == "":
			fault(path, "needs sip.tls.client_ca, the roots of the certificates that are demanded")
		}
	}
}

// socketKind is what a transport's socket is for the kernel.
func socketKind(network string) string {
	if network == "udp" {
		return "udp"
	}
	return "tcp"
}

func secure(network string) bool { return network == "tls" || network == "wss" }

func validateStore(s *Store, fault report) {
	if err := checkStoreURL(s.URL); err != nil {
		fault("store.url", "%q %v", withoutPassword(s.URL), err)
	}
	if s.Data != "" && s.URL != "embedded" {
		fault("store.data", "%q is for the embedded store, and store.url is another: give one of the two", s.Data)
	}
	if s.OnOutage != "accept" && s.OnOutage != "reject" {
		fault("store.on_outage", "%q is neither accept nor reject", s.OnOutage)
	}
}

func validateSupervise(s *Supervise, fault report) {
	if s.Interval != 0 && s.Interval < leastInterval {
		fault("supervise.interval", "%v is below %v; 0 means no probes", s.Interval, leastInterval)
	}
	if !(s.Jitter >= 0 && s.Jitter <= 1) {
		fault("supervise.jitter", "%v is not a share from 0 to 1", s.Jitter)
	}
	if s.Timeout < leastTimeout || s.Timeout > mostTimeout {
		fault("supervise.timeout", "%v is not from %v to %v, where SIP itself gives up", s.Timeout, leastTimeout, mostTimeout)
	}
	if s.Misses < 1 {
		fault("supervise.misses", "%d is below 1", s.Misses)
	}
	if !slices.Contains(probeMethods, s.Method) {
		fault("supervise.method", "%q is none of %s", s.Method, strings.Join(probeMethods, ", "))
	}
	if s.Policy != "rfc3261" && s.Policy != "rfc5057" {
		fault("supervise.policy", "%q is neither rfc3261 nor rfc5057", s.Policy)
	}
	if !isAction(s.Action) {
		fault("supervise.action", "%q is neither hangup nor observe", s.Action)
	}
	if s.MaxDuration != 0 && s.MaxDuration < leastDuration {
		fault("supervise.max_duration", "%v is below %v; 0 means no limit", s.MaxDuration, leastDuration)
	}
	if b := s.Brake; !(b.Share > 0 && b.Share <= 1) {
		fault("supervise.brake.share", "%v is not a share above 0, up to 1", b.Share)
	}
	if s.Brake.Floor < 1 {
		fault("supervise.brake.floor", "%d is below 1", s.Brake.Floor)
	}
	if b := s.Brake; !(b.PerMinute >= 0 && b.PerMinute <= 1) {
		fault("supervise.brake.per_minute", "%v is not a share from 0 to 1", b.PerMinute)
	}
}

func isAction(s string) bool { return s == "hangup" || s == "observe" }

func validateCDR(c *CDR, fault report) {
	if c.MaxMB < 1 {
		fault("cdr.max_mb", "%d is below 1", c.MaxMB)
	}
	if c.Keep < 0 {
		fault("cdr.keep", "%d is below 0; 0 keeps all", c.Keep)
	}
}

func validateHEP(h *HEP, fault report) {
	if h.Address == "" {
		if h.ID != 0 {
			fault("hep.id", "nobody is told: hep.address is empty")
		}
		return
	}
	if h.ID < 0 || h.ID > math.MaxUint32 {
		fault("hep.id", "%d is not between 0 and %d", h.ID, uint32(math.MaxUint32))
	}
	if host, port, err := net.SplitHostPort(h.Address); err != nil || !isHost(host) || !isPort(port, 1) {
		fault("hep.address", "%q is not host:port", h.Address)
	}
}

func validateAdmin(a *Admin, fault report) {
	_, port, err := net.SplitHostPort(a.Listen)
	if err != nil || !isPort(port, 0) {
		fault("admin.listen", "%q is not host:port", a.Listen)
		return
	}
	if (a.TLS.Cert == "") != (a.TLS.Key == "") {
		fault("admin.tls", "needs both cert and key, or neither")
	}
	if !isLoopback(a.Listen) && a.TokensFile == "" {
		fault("admin.listen", "%q is not a loopback address: whoever reaches it could end calls. Give the file of those who may "+
			"in admin.tokens_file (sipvigil token new makes its lines), or use 127.0.0.1:%s", a.Listen, port)
	}
}

// item is the path of one element of a list.
func item(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }
