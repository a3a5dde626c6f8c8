package daemon

import (
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Config is everything that a deployer can set. Its YAML form is that of the
// configuration file.
type Config struct {
	Node      string    `yaml:"node"` // name of this process among those that share a store
	SIP       SIP       `yaml:"sip"`
	Store     Store     `yaml:"store"`
	Supervise Supervise `yaml:"supervise"`
	Trunks    []Trunk   `yaml:"trunks,omitempty"`
	Routes    []Route   `yaml:"routes,omitempty"` // the first that matches decides
	CDR       CDR       `yaml:"cdr"`
	HEP       HEP       `yaml:"hep,omitempty"`
	Admin     Admin     `yaml:"admin"`
}

// SIP is how peers reach sipvigil.
type SIP struct {
	Listen      []string      `yaml:"listen,flow"`         // udp, tcp, tls, ws or wss://host:port, see ParseListen
	Advertise   string        `yaml:"advertise,omitempty"` // host or host:port that peers can reach
	NextHop     string        `yaml:"next_hop,omitempty"`  // SIP URI that every call is sent to; empty: Routes, then the Request-URI
	RingTimeout time.Duration `yaml:"ring_timeout"`        // the longest that a call may ring
	DNS         string        `yaml:"dns,omitempty"`       // address and port of the DNS server that knows peers; empty: the system's
	Unknown     string        `yaml:"unknown"`             // requests from sources that no trunk has: reject or drop
	SourceCheck string        `yaml:"source_check"`        // requests inside calls from elsewhere than the far end: enforce, log or off
	Takeover    string        `yaml:"takeover"`            // of calls of a node that is gone: none, or refresh: their far ends are told our Contact
	TLS         TLS           `yaml:"tls,omitempty"`
}

// TLS names files in PEM form. They are read again when they change.
type TLS struct {
	Cert     string `yaml:"cert,omitempty"`      // our certificate, and those between it and its root
	Key      string `yaml:"key,omitempty"`       // its key
	CA       string `yaml:"ca,omitempty"`        // roots of the peers that we connect to; those of the system if empty
	ClientCA string `yaml:"client_ca,omitempty"` // roots of the peers that connect to us; no certificate is asked for if empty
}

// Store is where calls are remembered.
type Store struct {
	URL      string `yaml:"url"`            // embedded, or redis://…, rediss://…, redis-sentinel://…, redis-cluster://…
	Data     string `yaml:"data,omitempty"` // directory of the embedded store's journal; without one calls end with the process
	OnOutage string `yaml:"on_outage"`      // new calls while the store cannot be reached: accept or reject
}

// Supervise is how calls are watched.
type Supervise struct {
	Interval time.Duration `yaml:"interval"` // between two probes of a leg, 0 for none at all
	Jitter   float64       `yaml:"jitter"`   // share of the interval by which probes are spread
	Timeout  time.Duration `yaml:"timeout"`  // of one probe
	Misses   int           `yaml:"misses"`   // probes missed in a row that make a leg silent
	Method   string        `yaml:"method"`   // what to ask with: auto, options, update or reinvite
	Policy   string        `yaml:"policy"`   // what answers mean: rfc3261 or rfc5057
	Action   string        `yaml:"action"`   // what follows when a leg is dead: hangup, or observe to end no call
	// MaxDuration is how long an answered call may last, 0 for ever.
	MaxDuration time.Duration `yaml:"max_duration"`
	Brake       Brake         `yaml:"brake"`
}

// Brake says how much silence at once is taken for a fault of the network, and
// ends no calls.
type Brake struct {
	Share     float64 `yaml:"share"`      // of the legs behind one peer, silent together
	Floor     int     `yaml:"floor"`      // so many legs, or calls, are never too many
	PerMinute float64 `yaml:"per_minute"` // share of all calls that silence may end in a minute
}

// Trunk is a group of peers: a carrier, a PBX.
type Trunk struct {
	Name    string   `yaml:"name"`
	Targets []string `yaml:"targets,omitempty,flow"` // SIP URIs that calls to it are sent to
	Sources []string `yaml:"sources,omitempty,flow"` // networks that calls from it come from, see ParseSource
	Action  string   `yaml:"action,omitempty"`       // as supervise.action, for legs of this trunk
	NAT     string   `yaml:"nat,omitempty"`          // auto (also when empty): NATs are seen through; off: Contacts are believed
	Trusted bool     `yaml:"trusted,omitempty"`      // it may say who a user is (RFC 3325), and is told

	Monitor    *Monitor `yaml:"monitor,omitempty"`     // how its addresses are watched; none: they are not
	CoupledTo  string   `yaml:"coupled_to,omitempty"`  // trunk whose calls these are: while it is down this one takes none either
	RefuseWith string   `yaml:"refuse_with,omitempty"` // what OPTIONS and INVITE get while no calls are taken, 503 when empty; drop: OPTIONS gets nothing
	Capacity   Capacity `yaml:"capacity,omitempty"`    // channels that it has; none given: any number
	CPS        int      `yaml:"cps,omitempty"`         // calls that may begin in a second, of each direction; 0: any number
	WhenFull   string   `yaml:"when_full,omitempty"`   // what becomes of a call to it then: next (also when empty), 486 or 503

	TLS         TrunkTLS    `yaml:"tls,omitempty"`
	Credentials Credentials `yaml:"credentials,omitempty"` // for its challenges
}

// Credentials are what we identify ourselves with to the peers of a trunk. The
// password is in a file of its own, so that a configuration can be shown.
type Credentials struct {
	Username     string `yaml:"username"`
	PasswordFile string `yaml:"password_file"`   // one line, read again for each challenge
	Realm        string `yaml:"realm,omitempty"` // of the challenges that are answered; empty: of all
}

// Monitor is how the addresses of a trunk's targets are watched. What is not
// given is as the preset has it, or the default.
type Monitor struct {
	Preset        string         `yaml:"preset,omitempty"`          // as this system watches its own peers: see links.Presets
	Probe         string         `yaml:"probe,omitempty"`           // options, register, crlf, tcp or none
	Mode          string         `yaml:"mode,omitempty"`            // continuous, or idle-only: not while real traffic shows enough
	Interval      *time.Duration `yaml:"interval,omitempty"`        // between two questions to an address that is up
	IntervalDown  *time.Duration `yaml:"interval_down,omitempty"`   // and to one that does not answer well
	Jitter        *float64       `yaml:"jitter,omitempty"`          // share of both by which they are spread
	Timeout       *time.Duration `yaml:"timeout,omitempty"`         // of one question
	DownAfter     *int           `yaml:"down_after,omitempty"`      // failures in a row that take an address down
	UpAfter       *int           `yaml:"up_after,omitempty"`        // signs of life in a row that bring it back
	DownCodes     []string       `yaml:"down_codes,omitempty,flow"` // answers that are failures, see links.ParseCode
	InboundCounts *bool          `yaml:"inbound_counts,omitempty"`  // their requests show that they can be reached
	Demote        *bool          `yaml:"demote,omitempty"`          // what is down is tried last, instead of never
}

// TrunkTLS is what a trunk has to prove.
type TrunkTLS struct {
	ClientName string `yaml:"client_name,omitempty"` // domain in the certificate that it must connect with
}

// Route sends calls to trunks.
type Route struct {
	From         string   `yaml:"from,omitempty"`               // trunk the call came from, _other for none, empty for any
	User         string   `yaml:"user,omitempty"`               // regular expression for the called number, the user of the Request-URI; empty for any
	Prefix       []string `yaml:"prefix,omitempty,flow"`        // or what it begins with
	Caller       string   `yaml:"caller,omitempty"`             // regular expression for the calling number, the user of From; empty for any
	CallerPrefix []string `yaml:"caller_prefix,omitempty,flow"` // or what it begins with
	SetUser      string   `yaml:"set_user,omitempty"`           // what the called number becomes, see Route.template
	SetCaller    string   `yaml:"set_caller,omitempty"`         // what the calling number becomes
	To           []string `yaml:"to,flow"`                      // trunks
	Choose       string   `yaml:"choose,omitempty"`             // in which order they are tried: order (also when empty), weight or free
	Weights      []int    `yaml:"weights,omitempty,flow"`       // of each, with weight
}

// Capacity is how many channels a trunk has: a number in all, or a mapping. 0 is
// any number.
type Capacity struct {
	In    int `yaml:"in,omitempty"`  // for calls from it
	Out   int `yaml:"out,omitempty"` // for calls to it
	Total int `yaml:"total,omitempty"`
}

// short is what a single value stands for.
func (c *Capacity) short() any { return &c.Total }

// CDR is where a record of each call is written when it ends: one line of JSON.
type CDR struct {
	File  string `yaml:"file,omitempty"` // none when empty
	MaxMB int    `yaml:"max_mb"`         // megabytes after which a new file is begun
	Keep  int    `yaml:"keep"`           // old files that are kept, 0 for all
}

// HEP is the capture server that gets a copy of every SIP message.
type HEP struct {
	Address string `yaml:"address,omitempty"` // host:port, by UDP; nobody gets copies when empty
	ID      int    `yaml:"id,omitempty"`      // what this node is called there
}

// Admin is the HTTP API and page.
type Admin struct {
	Listen     string   `yaml:"listen"`                // host:port
	TokensFile string   `yaml:"tokens_file,omitempty"` // who may do what; needed unless on loopback; read again when it changes
	TLS        AdminTLS `yaml:"tls,omitempty"`
}

// AdminTLS names files in PEM form. They are read again when they change.
type AdminTLS struct {
	Cert string `yaml:"cert,omitempty"`
	Key  string `yaml:"key,omitempty"`
}

// Default is the configuration without a file: calls from this host only,
// routed by their Request-URI, kept in memory.
func Default() Config {
	node, err := os.Hostname()
	if err != nil {
		node = "localhost"
	}
	return Config{
		Node: node,
		SIP: SIP{Listen: []string{"udp://127.0.0.1:5060", "tcp://127.0.0.1:5060"}, RingTimeout: 3 * time.Minute,
			Unknown: "reject", SourceCheck: "enforce", Takeover: "none"},
		Store: Store{URL: "embedded", OnOutage: "accept"},
		Supervise: Supervise{Interval: 30 * time.Second, Jitter: 0.1, Timeout: 32 * time.Second, Misses: 2, Method: "auto", Policy: "rfc3261", Action: "hangup",
			Brake: Brake{Share: 0.2, Floor: 10, PerMinute: 0.01}},
		CDR:   CDR{MaxMB: 100, Keep: 10},
		Admin: Admin{Listen: "127.0.0.1:8080"},
	}
}

// String is the configuration as YAML, without passwords.
func (c Config) String() string {
	c.Store.URL = withoutPassword(c.Store.URL)
	b, err := yaml.Marshal(c)
	if err != nil {
		return err.Error() // plain fields always marshal
	}
	return string(b)
}

const hidden = "xxxxx"

// withoutPassword hides what must not be shown in a store's URL: the password
// before the host, and parameters with one. It takes the text apart itself,
// because a URL with several hosts, or a wrong one, does not parse.
func withoutPassword(s string) string {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return s
	}
	rest, query, hasQuery := strings.Cut(rest, "?")
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		if user, _, ok := strings.Cut(rest[:at], ":"); ok {
			rest = user + ":" + hidden + rest[at:]
		}
	}
	if hasQuery {
		params := strings.FieldsFunc(query, func(r rune) bool { return r == '&' || r == ';' })
		for i, p := range params {
			key, _, _ := strings.Cut(p, "=")
			name, err := url.QueryUnescape(key)
			if err != nil || slices.ContainsFunc([]string{"pass", "secret", "token"}, func(word string) bool {
				return strings.Contains(strings.ToLower(name), word)
			}) {
				params[i] = key + "=" + hidden
			}
		}
		rest += "?" + strings.Join(params, "&")
	}
	return scheme + "://" + rest
}
