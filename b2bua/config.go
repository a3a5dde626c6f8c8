package b2bua

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"time"

	"sipvigil/b2bua/dialog"
	"sipvigil/b2bua/locate"
	"sipvigil/store"
)

// Config is what the agent needs to know.
type Config struct {
	Node        string        // name of this node in the records
	Advertise   string        // host or host:port that peers can reach; empty: the socket's own address
	NextHop     string        // SIP URI that every call is sent to; empty: routes, then the Request-URI
	Trunks      []Trunk       // known peers
	Routes      []Route       // the first that matches decides
	RingTimeout time.Duration // how long a call may ring
	RejectDown  bool          // refuse new calls while the store is not reachable
	DNS         locate.Config // who knows what names stand for
	Unknown     string        // requests from sources that no trunk has: UnknownReject or UnknownDrop
	SourceCheck string        // requests inside calls from elsewhere than the far end: SourceEnforce, SourceLog or SourceOff

	// Reinvite has the session of each call remembered, so that Probe can ask
	// with INVITE. It costs memory: the session descriptions of both legs.
	Reinvite bool

	// May says whether this node is sure to own its calls now. While it is not,
	// only requests of the far ends are sent inside calls; [Agent.GoOn] tells
	// when it is again. nil: always.
	May func() bool
	// Recollect returns once it is known which calls are still this node's, after
	// the process stood still for so long that others may have adopted them: what
	// is not has been dropped by then. It is called before each message is served,
	// and must return at once as a rule. nil: nobody adopts any.
	Recollect func()
	// Kept returns once a failover of the store cannot lose what it has
	// acknowledged so far, and which of these calls it has lost already. It is
	// asked before calls that were read back are used. nil: nothing gets lost.
	Kept func(ctx context.Context, calls []store.Call) (lost []string, err error)
	// Find is asked for a call that a request inside it names, which this agent
	// does not have. It may wait for the network, and must keep to its ctx. nil:
	// there are no calls elsewhere.
	Find func(ctx context.Context, id string) (Place, error)

	// Links decides which addresses new calls go to. nil: everything is up.
	Links Links
	// Service says what new calls from a trunk get now, [OtherTrunk] included. It
	// returns at once. nil: they are taken.
	Service func(trunk string) Service

	// Mirror gets a copy of every message. nil: nobody does.
	Mirror Mirror

	// Channels counts the calls of trunks that have a Limit. nil: none has.
	Channels Channels
	// Draw returns a random number below n, for ChooseWeight; nil: math/rand does.
	Draw func(n int) int

	// TLS returns what is in force: our certificate for both directions, the
	// RootCAs that peers are verified by, those of the system if nil, and the
	// ClientCAs of those who connect to us, nil if none are asked for. It is
	// called for each handshake. Without it there is no TLS in either direction.
	TLS func() *tls.Config
}

// Trunk is a group of peers.
type Trunk struct {
	Name    string
	Targets []string       // SIP URIs, tried in order
	Sources []netip.Prefix // where its requests come from; the longest prefix decides between trunks

	Credentials Credentials // answer its challenges
	Trusted     bool        // its peers may assert who a user is, and are told so: RFC 3325
	NATOff      bool        // its Contacts are believed: no flows, no guess that there is a NAT
	ClientName  string      // in the certificate that it must connect with; empty: none is asked for

	Limit    store.Limit // of its calls, counted by Config.Channels
	WhenFull int         // what a call to it is refused with, 486 or 503; 0: it goes to the next trunk
}

// Route sends calls to trunks. It takes those that all its conditions hold for.
type Route struct {
	From   string         // name of the trunk that the call comes from; empty: any
	User   *regexp.Regexp // matches the called number, the user part of the Request-URI; nil: any
	Caller *regexp.Regexp // matches the calling number, the user part of From; nil: any

	// What the numbers become, with $1 for what the first group of the expression
	// matches, or for all of the number without one; empty: they stay.
	SetUser, SetCaller string

	To      []string // names of trunks
	Choose  Choice   // in which order these are tried
	Weights []int    // of each, for ChooseWeight
}

// Choice is how the order is made in which the trunks of a route are tried.
type Choice string

// The values of Choice. The zero Choice is ChooseOrder.
const (
	ChooseOrder  Choice = "order"  // as they are listed
	ChooseWeight Choice = "weight" // each comes first as often as its share of the weights says, one of weight 0 after all others
	ChooseFree   Choice = "free"   // the one with the most free channels first
)

// OtherTrunk is the name of the trunk of all peers that belong to none.
const OtherTrunk = "_other"

// Default returns the configuration that Validate accepts without changes.
func Default() Config {
	return Config{
		RingTimeout: 3 * time.Minute,
		Unknown:     UnknownReject, SourceCheck: SourceEnforce,
	}
}

// Validate returns every fault of the configuration at once.
func (c *Config) Validate() error {
	var faults []error
	if c.RingTimeout <= 0 {
		faults = append(faults, fmt.Errorf("ring timeout %v: must be positive", c.RingTimeout))
	}
	if c.Unknown != UnknownReject && c.Unknown != UnknownDrop {
		faults = append(faults, fmt.Errorf("unknown sources: %q is neither reject nor drop", c.Unknown))
	}
	if m := c.SourceCheck; m != SourceEnforce && m != SourceLog && m != SourceOff {
		faults = append(faults, fmt.Errorf("source check: %q is neither enforce, log nor off", m))
	}
	if c.NextHop != "" {
		faults = append(faults, checkTarget("next hop", c.NextHop))
	}
	if c.Advertise != "" {
		if _, _, err := splitAdvertise(c.Advertise); err != nil {
			faults = append(faults, err)
		}
	}
	if c.DNS.Server != "" {
		if _, _, err := net.SplitHostPort(c.DNS.Server); err != nil {
			faults = append(faults, fmt.Errorf("DNS server %q: want host:port", c.DNS.Server))
		}
	}
	names := make(map[string]bool)
	for _, t := range c.Trunks {
		names[t.Name] = true
		if c := t.Credentials; (c.Username == "") != (c.PasswordFile == "") {
			faults = append(faults, fmt.Errorf("trunk %s: credentials are a username and a password file", t.Name))
		}
		for _, target := range t.Targets {
			faults = append(faults, checkTarget("trunk "+t.Name, target))
		}
	}
	for i, r := range c.Routes {
		for _, name := range r.To {
			if !names[name] {
				faults = append(faults, fmt.Errorf("route %d: there is no trunk %q", i+1, name))
			}
		}
	}
	return errors.Join(faults...)
}

func checkTarget(where, uri string) error {
	u, err := dialog.ParseURI(uri)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %q is not a SIP URI: %w", where, uri, err)
	case u.Scheme != "sip":
		return fmt.Errorf("%s: %q: the scheme must be sip", where, uri)
	case u.Host == "":
		return fmt.Errorf("%s: %q has no host", where, uri)
	}
	switch t := transportOf(u); t {
	case "udp", "tcp", "tls":
		return nil
	default:
		return fmt.Errorf("%s: %q: transport %s cannot be connected to, use udp, tcp or tls", where, uri, t)
	}
}

// splitAdvertise returns host and port, 0 without one.
func splitAdvertise(s string) (host string, port int, err error) {
	u, err := dialog.ParseURI("sip:" + s)
	if err == nil && u.User == "" && u.Params == "" && u.Headers == "" {
		return u.Host, u.Port, nil
	}
	if ip := net.ParseIP(s); ip != nil { // an IPv6 address without brackets
		return s, 0, nil
	}
	return "", 0, fmt.Errorf("advertise %q: want host or host:port", s)
}
