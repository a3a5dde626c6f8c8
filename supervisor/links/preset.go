package links

import (
	"slices"
	"time"
)

// preset is how one kind of system watches its peers.
type preset struct {
	name   string
	source string // that says so
	set    func(*Config)
}

// presets have what is different from [Default].
var presets = []preset{
	{"avaya", "Avaya Aura Session Manager 6.1 and 10.2, SIP Link Monitoring: cycles of 900 s and 120 s, one retry; down for 408, " +
		"500 Destination Unreachable, 503 without a text in parentheses or for no media resources, 504", func(c *Config) {
		c.Interval, c.IntervalDown = 900*time.Second, 120*time.Second
		c.DownAfter, c.UpAfter = 2, 1
		c.DownCodes = codes("408", "500 destination unreachable", `503 ^[^(]*$`, "503 no media resources", "503 lsp is inactive", "504")
	}},
	{"cisco-cube", "Cisco IOS, voice-class sip options-keepalive: 60 s, 30 s, 5 retries; busy for 503, 505 and no answer. " +
		"Two successes bring it back, where CUBE's one flaps (CSCuw63102)", func(c *Config) {
		c.Interval, c.IntervalDown = 60*time.Second, 30*time.Second
		c.DownAfter, c.UpAfter = 5, 2
		c.DownCodes = codes("503", "505")
	}},
	{"cisco-cucm", "Cisco Unified Communications Manager, SIP profile, OPTIONS ping: 60 s and 120 s, six repetitions after 500 ms each; " +
		"down for 408, 503, no answer and no connection", func(c *Config) {
		c.Interval, c.IntervalDown, c.Timeout = 60*time.Second, 120*time.Second, 3500*time.Millisecond
		c.DownAfter, c.UpAfter = 1, 1
		c.DownCodes = codes("408", "503")
	}},
	{"oracle", "Oracle (Acme Packet) SBC, session-agent: ping-send-mode keep-alive; any answer is in service; out of service " +
		"after a time-out of the ping, or ten of other requests", func(c *Config) {
		c.Mode = IdleOnly
		c.DownAfter, c.UpAfter, c.TrafficAfter = 1, 1, 10
		c.DownCodes = nil
	}},
	{"ribbon", "Ribbon (Sonus) SBC, pathCheckProfile: sendInterval 60, replyTimeoutCount 6, recoveryCount 6, no failureResponseCodes", func(c *Config) {
		c.Interval, c.IntervalDown = 60*time.Second, 60*time.Second
		c.DownAfter, c.UpAfter = 6, 6
		c.DownCodes = nil
	}},
	{"audiocodes", "AudioCodes Mediant, Proxy Set keep-alive: 60 s; any answer is alive; one success 10 s later brings it back; " +
		"an INVITE without answer counts", func(c *Config) {
		c.Interval, c.IntervalDown = 60*time.Second, 10*time.Second
		c.DownAfter, c.UpAfter = 1, 1
		c.DownCodes = nil
	}},
	{"lync", "Microsoft Lync and Skype for Business, Mediation Server: 5 in a row without answer (event 25061), retry every 60 s; " +
		"a gateway that sends OPTIONS is not polled until 5 minutes after the last", func(c *Config) {
		c.Interval, c.IntervalDown = 60*time.Second, 60*time.Second
		c.DownAfter, c.UpAfter = 5, 1
		c.DownCodes = nil
		c.InboundHolds = 5 * time.Minute
	}},
	{"teams", "Microsoft Teams Direct Routing: health of three periods of a minute; demoted, not removed; " +
		"elsewhere after 408, 503, 504", func(c *Config) {
		c.Interval, c.IntervalDown = 60*time.Second, 60*time.Second
		c.DownAfter, c.UpAfter = 3, 1
		c.DownCodes = codes("408", "503", "504")
		c.Demote = true
	}},
	{"panasonic", "Panasonic KX-NS1000 manual: it has no OPTIONS; failover after time-outs of REGISTER and INVITE", func(c *Config) {
		c.Probe = None
		c.UpAfter = 1
	}},
	{"opensips", "OpenSIPS drouting, load_balancer and dispatcher: probing_interval 30, probing_threshold 3, only 200 is well", func(c *Config) {
		c.Interval, c.IntervalDown = 30*time.Second, 30*time.Second
		c.DownAfter, c.UpAfter = 3, 1
		c.DownCodes = codes("3xx", "4xx", "5xx", "6xx")
	}},
	{"kamailio", "Kamailio dispatcher: ds_probing_threshold 1, ds_inactive_threshold 1, only 200 is well", func(c *Config) {
		c.DownAfter, c.UpAfter = 1, 1
		c.DownCodes = codes("3xx", "4xx", "5xx", "6xx")
	}},
}

// Presets are the names that [Preset] knows, in alphabetical order.
func Presets() []string {
	names := make([]string, len(presets))
	for i := range presets {
		names[i] = presets[i].name
	}
	slices.Sort(names)
	return names
}

// Preset is how a system of this name watches its peers; false when there is
// none.
func Preset(name string) (Config, bool) {
	for i := range presets {
		if presets[i].name == name {
			c := Default()
			presets[i].set(&c)
			return c, true
		}
	}
	return Config{}, false
}
