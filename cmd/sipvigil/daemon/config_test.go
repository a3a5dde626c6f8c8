package daemon

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// load reads a file with this text, in an environment of NAME=value.
func load(t *testing.T, text string, env []string, flags map[string][]string) (Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sipvigil.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(path, func(name string) string {
		for _, e := range env {
			if v, ok := strings.CutPrefix(e, name+"="); ok {
				return v
			}
		}
		return ""
	}, flags)
}

func none(string) string { return "" }

func wantFaults(t *testing.T, err error, want ...string) {
	t.Helper()
	var got []string
	if err != nil {
		got = strings.Split(err.Error(), "\n")
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("faults (-want +got):\n%s", d)
	}
}

func TestWithoutAFileTheDefaultsServeThisHostOnly(t *testing.T) {
	got, err := Load("", none, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Node: got.Node, // the host's name
		SIP: SIP{Listen: []string{"udp://127.0.0.1:5060", "tcp://127.0.0.1:5060"}, RingTimeout: 3 * time.Minute,
			Unknown: "reject", SourceCheck: "enforce", Takeover: "none"},
		Store: Store{URL: "embedded", OnOutage: "accept"},
		Supervise: Supervise{Interval: 30 * time.Second, Jitter: 0.1, Timeout: 32 * time.Second, Misses: 2,
			Method: "auto", Policy: "rfc3261", Action: "hangup",
			Brake: Brake{Share: 0.2, Floor: 10, PerMinute: 0.01}},
		CDR:   CDR{MaxMB: 100, Keep: 10},
		Admin: Admin{Listen: "127.0.0.1:8080"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("defaults (-want +got):\n%s", d)
	}
}

const whole = `
# an edge between a PBX and two carriers
node: edge-1
sip:
  listen: [udp://0.0.0.0:5060, "tcp://[::]:5060"]
  advertise: 203.0.113.7
  ring_timeout: 90s
  dns: 192.0.2.53:53
  unknown: drop
  source_check: log
  takeover: refresh
store:
  url: redis://user:secret@redis.example:6379/0
  on_outage: reject
supervise: {interval: 0, jitter: 0, timeout: 5s, misses: 1, method: update, policy: rfc5057, action: observe, max_duration: 4h, brake: {share: 0.5, floor: 20, per_minute: 0}}
trunks:
  - name: pbx
    targets: ["sip:192.0.2.10:5060;transport=udp"]
    sources: [192.0.2.0/24, "2001:db8::1"]
    trusted: true
    nat: off
    monitor: {preset: avaya, probe: options, mode: idle-only, interval: 60s, interval_down: 30s, jitter: 0, timeout: 5s, down_after: 3, up_after: 2, down_codes: [408, 503 busy, 5xx], inbound_counts: false, demote: true}
  - &carrier
    name: carrier-a
    targets: [sip:carrier.example]
    monitor: {}
    credentials: {username: us, password_file: testdata/password, realm: carrier}
    action: hangup
  - name: carrier-b
    targets:
      - sip:[2001:db8::7]:5080;transport=tcp
routes:
  - {from: pbx, user: "^\\+?1", to: [carrier-a, carrier-b]}
  - {from: _other, to: [pbx]}
  - to: [carrier-b]
cdr: {file: /var/log/sipvigil/cdr.jsonl, max_mb: 5, keep: 0}
hep: {address: "homer.example:9060", id: 2001}
admin:
  listen: "[::1]:9000"
  tokens_file: /etc/sipvigil/tokens
  tls: {cert: admin.pem, key: admin.key}
`

func TestFileSetsEveryOption(t *testing.T) {
	got, err := load(t, whole, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Node: "edge-1",
		SIP: SIP{Listen: []string{"udp://0.0.0.0:5060", "tcp://[::]:5060"}, Advertise: "203.0.113.7", RingTimeout: 90 * time.Second,
			Unknown: "drop", SourceCheck: "log", Takeover: "refresh", DNS: "192.0.2.53:53"},
		Store:     Store{URL: "redis://user:secret@redis.example:6379/0", OnOutage: "reject"},
		Supervise: Supervise{Timeout: 5 * time.Second, Misses: 1, Method: "update", Policy: "rfc5057", Action: "observe", MaxDuration: 4 * time.Hour, Brake: Brake{Share: 0.5, Floor: 20}},
		Trunks: []Trunk{
			{Name: "pbx", Targets: []string{"sip:192.0.2.10:5060;transport=udp"}, Sources: []string{"192.0.2.0/24", "2001:db8::1"}, Trusted: true, NAT: "off",
				Monitor: &Monitor{Preset: "avaya", Probe: "options", Mode: "idle-only", Interval: new(time.Minute), IntervalDown: new(30 * time.Second),
					Jitter: new(0.0), Timeout: new(5 * time.Second), DownAfter: new(3), UpAfter: new(2), DownCodes: []string{"408", "503 busy", "5xx"},
					InboundCounts: new(false), Demote: new(true)}},
			{Name: "carrier-a", Targets: []string{"sip:carrier.example"}, Action: "hangup", Monitor: &Monitor{},
				Credentials: Credentials{Username: "us", PasswordFile: "testdata/password", Realm: "carrier"}},
			{Name: "carrier-b", Targets: []string{"sip:[2001:db8::7]:5080;transport=tcp"}},
		},
		Routes: []Route{
			{From: "pbx", User: `^\+?1`, To: []string{"carrier-a", "carrier-b"}},
			{From: "_other", To: []string{"pbx"}},
			{To: []string{"carrier-b"}},
		},
		CDR:   CDR{File: "/var/log/sipvigil/cdr.jsonl", MaxMB: 5},
		HEP:   HEP{Address: "homer.example:9060", ID: 2001},
		Admin: Admin{Listen: "[::1]:9000", TokensFile: "/etc/sipvigil/tokens", TLS: AdminTLS{Cert: "admin.pem", Key: "admin.key"}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("config (-want +got):\n%s", d)
	}
}

func TestFlagGoesBeforeEnvironmentBeforeFileBeforeDefault(t *testing.T) {
	file := "node: file\nstore: {url: redis://file}\nsupervise: {misses: 3, timeout: 3s}\n"
	env := []string{"SIPVIGIL_STORE_URL=redis://env", "SIPVIGIL_SUPERVISE_MISSES=4", "SIPVIGIL_SUPERVISE_TIMEOUT=", "UNRELATED=x"}
	flags := map[string][]string{"probe-misses": {"5"}, "config": {"not ours"}}
	got, err := load(t, file, env, flags)
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Node = "file"                       // from the file
	want.Store.URL = "redis://env"           // from the environment
	want.Supervise.Misses = 5                // from the flag
	want.Supervise.Timeout = 3 * time.Second // an empty variable counts as unset
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("config (-want +got):\n%s", d)
	}
}

func TestEverySettingHasItsVariable(t *testing.T) {
	got, err := Load("", func(name string) string {
		return map[string]string{
			"SIPVIGIL_NODE":                       "n",
			"SIPVIGIL_SIP_LISTEN":                 "udp://127.0.0.1:5070, tcp://127.0.0.1:5071",
			"SIPVIGIL_SIP_ADVERTISE":              "sip.example:5099",
			"SIPVIGIL_SIP_RING_TIMEOUT":           "1m",
			"SIPVIGIL_SIP_DNS":                    "[2001:db8::53]:53",
			"SIPVIGIL_SIP_UNKNOWN":                "drop",
			"SIPVIGIL_SIP_SOURCE_CHECK":           "off",
			"SIPVIGIL_SIP_TAKEOVER":               "refresh",
			"SIPVIGIL_STORE_URL":                  "redis-sentinel://a:1,b:2,c:3/main/0",
			"SIPVIGIL_STORE_ON_OUTAGE":            "reject",
			"SIPVIGIL_SUPERVISE_INTERVAL":         "0",
			"SIPVIGIL_SUPERVISE_JITTER":           "0.5",
			"SIPVIGIL_SUPERVISE_TIMEOUT":          "1s",
			"SIPVIGIL_SUPERVISE_MISSES":           "9",
			"SIPVIGIL_SUPERVISE_METHOD":           "options",
			"SIPVIGIL_SUPERVISE_POLICY":           "rfc5057",
			"SIPVIGIL_SUPERVISE_ACTION":           "observe",
			"SIPVIGIL_SUPERVISE_MAX_DURATION":     "2h",
			"SIPVIGIL_SUPERVISE_BRAKE_SHARE":      "1",
			"SIPVIGIL_SUPERVISE_BRAKE_FLOOR":      "2",
			"SIPVIGIL_SUPERVISE_BRAKE_PER_MINUTE": "0.3",
			"SIPVIGIL_CDR_FILE":                   "cdr.jsonl",
			"SIPVIGIL_CDR_MAX_MB":                 "7",
			"SIPVIGIL_CDR_KEEP":                   "3",
			"SIPVIGIL_HEP_ADDRESS":                "192.0.2.9:9060",
			"SIPVIGIL_HEP_ID":                     "7",
			"SIPVIGIL_ADMIN_LISTEN":               "0.0.0.0:0",
			"SIPVIGIL_ADMIN_TOKENS_FILE":          "tokens",
			"SIPVIGIL_ADMIN_TLS_CERT":             "cert.pem",
			"SIPVIGIL_ADMIN_TLS_KEY":              "key.pem",
			"SIPVIGIL_SIP_NEXT_HOP":               "sip:pbx.example",
		}[name]
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Node: "n",
		SIP: SIP{Listen: []string{"udp://127.0.0.1:5070", "tcp://127.0.0.1:5071"}, Advertise: "sip.example:5099", NextHop: "sip:pbx.example", RingTimeout: time.Minute,
			Unknown: "drop", SourceCheck: "off", Takeover: "refresh", DNS: "[2001:db8::53]:53"},
		Store:     Store{URL: "redis-sentinel://a:1,b:2,c:3/main/0", OnOutage: "reject"},
		Supervise: Supervise{Jitter: 0.5, Timeout: time.Second, Misses: 9, Method: "options", Policy: "rfc5057", Action: "observe", MaxDuration: 2 * time.Hour, Brake: Brake{Share: 1, Floor: 2, PerMinute: 0.3}},
		CDR:       CDR{File: "cdr.jsonl", MaxMB: 7, Keep: 3},
		HEP:       HEP{Address: "192.0.2.9:9060", ID: 7},
		Admin:     Admin{Listen: "0.0.0.0:0", TokensFile: "tokens", TLS: AdminTLS{Cert: "cert.pem", Key: "key.pem"}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("config (-want +got):\n%s", d)
	}
	for _, path := range values("", reflect.TypeFor[Config]()) {
		name := "SIPVIGIL_" + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
		if !slices.ContainsFunc(settings, func(s setting) bool { return s.path == path && s.env == name }) {
			t.Errorf("%s has no variable %s", path, name)
		}
	}
}

// values are the paths of all keys that hold a value of their own, but for trunks and
// routes.
func values(path string, of reflect.Type) (paths []string) {
	for f := range of.Fields() {
		key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case key == "trunks" || key == "routes":
		case f.Type.Kind() == reflect.Struct:
			paths = append(paths, values(path+key+".", f.Type)...)
		default:
			paths = append(paths, path+key)
		}
	}
	return paths
}

func TestRepeatedFlagReplacesTheListOfTheFile(t *testing.T) {
	flags := map[string][]string{"next-hop": {"sip:127.0.0.1:5090"}, "listen": {"udp://127.0.0.1:0", "tcp://127.0.0.1:0"}}
	got, err := load(t, whole, []string{"SIPVIGIL_SIP_NEXT_HOP=sip:env.example"}, flags)
	if err != nil {
		t.Fatal(err)
	}
	want := SIP{
		Listen: []string{"udp://127.0.0.1:0", "tcp://127.0.0.1:0"}, Advertise: "203.0.113.7",
		NextHop: "sip:127.0.0.1:5090", RingTimeout: 90 * time.Second, Unknown: "drop", SourceCheck: "log", Takeover: "refresh", DNS: "192.0.2.53:53",
	}
	if d := cmp.Diff(want, got.SIP); d != "" {
		t.Errorf("sip (-want +got):\n%s", d)
	}
}

func TestPrintedConfigHidesPasswords(t *testing.T) {
	test := func(url, want string) {
		t.Helper()
		c := Default()
		c.Store.URL = url
		if got := c.String(); !strings.Contains(got, "url: "+want+"\n") {
			t.Errorf("%s is printed as\n%s", url, got)
		}
	}
	test("embedded", "embedded")
	test("redis://host:6379/0", "redis://host:6379/0")
	test("redis://:secret@host", "redis://:xxxxx@host")
	test("redis://user:se:cr@t@host/0", "redis://user:xxxxx@host/0")
	test("redis-sentinel://u:secret@h1:1,h2:2/main?sentinel_password=secret&db=0",
		"redis-sentinel://u:xxxxx@h1:1,h2:2/main?sentinel_password=xxxxx&db=0")
	test("redis://user@host", "redis://user@host")
	test("redis://host?Pa%73sword=secret", "redis://host?Pa%73sword=xxxxx")
}

func TestPrintedConfigCanBeRead(t *testing.T) {
	c, err := load(t, strings.ReplaceAll(whole, "user:secret@", ""), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	const want = `node: edge-1
sip:
    listen: ['udp://0.0.0.0:5060', 'tcp://[::]:5060']
    advertise: 203.0.113.7
    ring_timeout: 1m30s
    dns: 192.0.2.53:53
    unknown: drop
    source_check: log
    takeover: refresh
store:
    url: redis://redis.example:6379/0
    on_outage: reject
supervise:
    interval: 0s
    jitter: 0
    timeout: 5s
    misses: 1
    method: update
    policy: rfc5057
    action: observe
    max_duration: 4h0m0s
    brake:
        share: 0.5
        floor: 20
        per_minute: 0
trunks:
    - name: pbx
      targets: ['sip:192.0.2.10:5060;transport=udp']
      sources: [192.0.2.0/24, '2001:db8::1']
      nat: "off"
      trusted: true
      monitor:
        preset: avaya
        probe: options
        mode: idle-only
        interval: 1m0s
        interval_down: 30s
        jitter: 0
        timeout: 5s
        down_after: 3
        up_after: 2
        down_codes: ["408", 503 busy, 5xx]
        inbound_counts: false
        demote: true
    - name: carrier-a
      targets: ['sip:carrier.example']
      action: hangup
      monitor: {}
      credentials:
        username: us
        password_file: testdata/password
        realm: carrier
    - name: carrier-b
      targets: ['sip:[2001:db8::7]:5080;transport=tcp']
routes:
    - from: pbx
      user: ^\+?1
      to: [carrier-a, carrier-b]
    - from: _other
      to: [pbx]
    - to: [carrier-b]
cdr:
    file: /var/log/sipvigil/cdr.jsonl
    max_mb: 5
    keep: 0
hep:
    address: homer.example:9060
    id: 2001
admin:
    listen: '[::1]:9000'
    tokens_file: /etc/sipvigil/tokens
    tls:
        cert: admin.pem
        key: admin.key
`
	if d := cmp.Diff(want, c.String()); d != "" {
		t.Errorf("printed (-want +got):\n%s", d)
	}
	again, err := load(t, c.String(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(c, again); d != "" {
		t.Errorf("read again (-want +got):\n%s", d)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(whole)
	f.Add(faulty)
	f.Add("sip: *a")
	f.Add("a: &a [*a]\n")
	f.Add("sip.listen: [x]\nnode.x: y")
	f.Fuzz(func(t *testing.T, text string) {
		l := newLoader()
		l.file = "fuzz.yaml"
		l.decodeFile([]byte(text))
		validate(&l.config, l.fault)
		if l.err() != nil {
			return
		}
		c := l.config
		c.Store.URL = "embedded" // its password would be hidden
		again := newLoader()
		again.decodeFile([]byte(c.String()))
		if err := again.err(); err != nil {
			t.Fatalf("printed config cannot be read: %v\n%s", err, c)
		}
		if c.String() != again.config.String() {
			t.Errorf("printed config reads as another one:\n%s\n%s", c, again.config)
		}
	})
}
