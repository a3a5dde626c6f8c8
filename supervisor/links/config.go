package links

import (
	"fmt"
	"iter"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Probe is what an address is asked with.
type Probe string

// The probes.
const (
	Options  Probe = "options"  // OPTIONS outside of dialogs
	Register Probe = "register" // REGISTER that asks for bindings and makes none
	CRLF     Probe = "crlf"     // two line ends over a connection, answered by one: RFC 5626 section 3.5.1
	TCP      Probe = "tcp"      // a connection is opened, and closed
	None     Probe = "none"     // nothing: only real traffic tells
)

// Mode says when an address is asked.
type Mode string

// The modes.
const (
	Continuous Mode = "continuous" // always
	IdleOnly   Mode = "idle-only"  // when real traffic has shown nothing for an interval
)

// Config says how the addresses of one trunk are watched.
type Config struct {
	Probe        Probe
	Mode         Mode
	Interval     time.Duration // from one question to the next while an address is up and answers
	IntervalDown time.Duration // the same after a failure, and while it is down
	Jitter       float64       // both vary by this share, 0 to 1
	Timeout      time.Duration // how long a question waits for its answer
	DownAfter    int           // failures in a row that take an address down
	UpAfter      int           // signs of life in a row that bring it back
	TrafficAfter int           // INVITEs in a row that must fail to take an address down; 0: DownAfter
	DownCodes    []Code        // answers that are failures; all others are signs of life

	InboundCounts bool          // requests from an address show that it can be reached
	InboundHolds  time.Duration // nothing is asked for so long after such a request
	Demote        bool          // an address that is down gets calls when nothing else is left
}

// Trunk is a group of targets that are watched alike.
type Trunk struct {
	Name    string
	Targets []string // SIP URIs
	Preset  string   // that its Config was made from, "" for none
	Config
}

// Default is how a trunk is watched about which nothing else was said.
func Default() Config {
	return Config{
		Probe: Options, Mode: Continuous,
		Interval: 60 * time.Second, IntervalDown: 30 * time.Second, Jitter: 0.1, Timeout: 10 * time.Second,
		DownAfter: 3, UpAfter: 2, DownCodes: codes("408", "503", "504"), InboundCounts: true,
	}
}

// Faults visits what is wrong, by the key that it has in a configuration.
func (c *Config) Faults() iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		going := true
		check := func(ok bool, key, format string, args ...any) {
			going = going && (ok || yield(key, fmt.Errorf(format, args...)))
		}
		switch c.Probe {
		case Options, Register, CRLF, TCP, None:
		default:
			check(false, "probe", "%q is none of options, register, crlf, tcp, none", c.Probe)
		}
		check(c.Mode == Continuous || c.Mode == IdleOnly, "mode", "%q is neither continuous nor idle-only", c.Mode)
		check(c.Interval >= time.Second, "interval", "%v is below 1s", c.Interval)
		check(c.IntervalDown >= time.Second, "interval_down", "%v is below 1s", c.IntervalDown)
		check(c.Jitter >= 0 && c.Jitter <= 1, "jitter", "%v is not a share from 0 to 1", c.Jitter)
		check(c.Timeout >= 100*time.Millisecond && c.Timeout <= 32*time.Second, "timeout",
			"%v is not from 100ms to 32s, where SIP itself gives up", c.Timeout) // RFC 3261 section 17.1.2.2
		check(c.DownAfter >= 1, "down_after", "%d is below 1", c.DownAfter)
		check(c.UpAfter >= 1, "up_after", "%d is below 1", c.UpAfter)
	}
}

// trafficAfter is TrafficAfter with its default.
func (c *Config) trafficAfter() int {
	if c.TrafficAfter > 0 {
		return c.TrafficAfter
	}
	return c.DownAfter
}

// isDown says whether an answer is a failure.
func (c *Config) isDown(status int, phrase string) bool {
	for i := range c.DownCodes {
		if c.DownCodes[i].matches(status, phrase) {
			return true
		}
	}
	return false
}

// Code is an answer, or a class of them, with a certain reason phrase.
type Code struct {
	text   string
	from   int // the least status
	to     int // the greatest
	phrase *regexp.Regexp
}

// ParseCode reads "503", "5xx", or one of these with a regular expression that
// some part of the reason phrase has to match, in whatever case: "500
// destination unreachable".
func ParseCode(s string) (Code, error) {
	s = strings.TrimSpace(s)
	status, phrase, _ := strings.Cut(s, " ")
	c := Code{text: s}
	if class, ok := strings.CutSuffix(strings.ToLower(status), "xx"); ok {
		n, _ := strconv.Atoi(class)
		c.from, c.to = 100*n, 100*n+99
	} else {
		c.from, _ = strconv.Atoi(status)
		c.to = c.from
	}
	if c.from < 300 || c.from > 699 {
		return Code{}, fmt.Errorf("%q is not a status from 300 to 699 such as 503, or a class such as 5xx, with or without a part of its reason phrase behind it", s)
	}
	if phrase = strings.TrimSpace(phrase); phrase != "" {
		var err error
		if c.phrase, err = regexp.Compile("(?i:" + phrase + ")"); err != nil {
			return Code{}, fmt.Errorf("%q: the reason phrase is not a regular expression: %s", s,
				strings.TrimPrefix(err.Error(), "error parsing regexp: "))
		}
	}
	return c, nil
}

// String is the code as it was written.
func (c Code) String() string { return c.text }

func (c *Code) matches(status int, phrase string) bool {
	return status >= c.from && status <= c.to && (c.phrase == nil || c.phrase.MatchString(phrase))
}

// codes reads codes that are known to be right.
func codes(all ...string) []Code {
	list := make([]Code, len(all))
	for i, s := range all {
		c, err := ParseCode(s)
		if err != nil {
			panic(err)
		}
		list[i] = c
	}
	return list
}
