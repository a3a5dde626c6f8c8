package daemon

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const faulty = `node: "edge 1"
sip:
  lisen: [udp://127.0.0.1:5060]
  listen: [udp://127.0.0.1:5060, sctp://127.0.0.1:5060, tcp://127.0.0.1, udp://127.0.0.1:5060]
  advertise: 0.0.0.0
  ring_timeout: 10
store:
  url: redis://user:secret@
  on_outage: maybe
supervise:
  interval: 10ms
  jitter: 1.5
  timeout: 1h
  misses: two
  misses: 3
  brake: {share: 0, floor: 0, per_minute: 2, speed: 1}
trunks:
  - name: pbx
    targets: [sips:192.0.2.10, "sip:192.0.2.10;transport=ws", "sip:ann@pbx?a=b", "sip:pbx:0"]
    sources: [192.0.2.0/33, 192.0.2.1/24, 198.51.100.7]
    capacity: lots
  - name: pbx
    sources: [198.51.100.7/32]
  - name: _other
  - targets: sip:192.0.2.10
  - name: phones
    sources: [203.0.113.0/24]
routes:
  - {from: px, user: "^(1", to: [carrier, pbx, phones]}
  - {to: []}
admin:
  listen: 0.0.0.0:8080
  tls: {key: k.pem}
colour: red
`

func TestFaultsOfHowDeathIsFound(t *testing.T) {
	_, err := load(t, "supervise: {method: ask, policy: rfc1, action: kill, max_duration: 1s}\n"+
		"trunks: [{name: pbx, sources: [192.0.2.1], action: wait}]\n", nil, nil)
	wantFaults(t, err,
		`sipvigil.yaml:1: supervise.method: "ask" is none of auto, options, update, reinvite`,
		`sipvigil.yaml:1: supervise.policy: "rfc1" is neither rfc3261 nor rfc5057`,
		`sipvigil.yaml:1: supervise.action: "kill" is neither hangup nor observe`,
		`sipvigil.yaml:1: supervise.max_duration: 1s is below 1m0s; 0 means no limit`,
		`sipvigil.yaml:2: trunks[0].action: "wait" is neither hangup nor observe`)
}

func TestFaultsOfTheCaptureServer(t *testing.T) {
	_, err := load(t, "hep: {address: homer.example, id: -1}", nil, nil)
	wantFaults(t, err, `sipvigil.yaml:1: hep.id: -1 is not between 0 and 4294967295`, `sipvigil.yaml:1: hep.address: "homer.example" is not host:port`)
	_, err = load(t, "hep: {id: 7}", nil, nil)
	wantFaults(t, err, `sipvigil.yaml:1: hep.id: nobody is told: hep.address is empty`)
}

func TestEveryFaultIsNamedWithItsPlace(t *testing.T) {
	_, err := load(t, faulty, []string{"SIPVIGIL_SUPERVISE_JITTER=lots", "SIPVIGIL_SIP_RING_TIMEOUT=1ms", "SIPVIGIL_SIP_DNS=192.0.2.53"},
		map[string][]string{"probe-timeout": {"soon"}})
	const (
		name   = "is not a name of at most 63 letters, digits, '.', '_' and '-'"
		target = "is not a SIP URI such as sip:192.0.2.10:5060;transport=udp"
	)
	wantFaults(t, err,
		`sipvigil.yaml:1: node: "edge 1" `+name,
		`sipvigil.yaml:3: sip: unknown key "lisen", there are listen, advertise, next_hop, ring_timeout, dns, unknown, source_check, takeover, tls`,
		`sipvigil.yaml:4: sip.listen[1]: "sctp://127.0.0.1:5060" is not udp://host:port, or the like with tcp, tls, ws or wss`,
		`sipvigil.yaml:4: sip.listen[2]: "tcp://127.0.0.1" is not tcp://host:port; 0.0.0.0 and [::] stand for every address`,
		`sipvigil.yaml:4: sip.listen[3]: "udp://127.0.0.1:5060" is there already`,
		`sipvigil.yaml:5: sip.advertise: "0.0.0.0" is not a host or host:port that peers can reach`,
		`sipvigil.yaml:6: sip.ring_timeout: "10" is not a length of time such as 500ms, 30s or 3m`,
		`sipvigil.yaml:8: store.url: "redis://user:xxxxx@" has a host that is none: ""`,
		`sipvigil.yaml:9: store.on_outage: "maybe" is neither accept nor reject`,
		`sipvigil.yaml:11: supervise.interval: 10ms is below 1s; 0 means no probes`,
		`sipvigil.yaml:14: supervise.misses: "two" is not a whole number`,
		`sipvigil.yaml:15: supervise.misses: is given already in line 14`,
		`sipvigil.yaml:16: supervise.brake: unknown key "speed", there are share, floor, per_minute`,
		`sipvigil.yaml:16: supervise.brake.share: 0 is not a share above 0, up to 1`,
		`sipvigil.yaml:16: supervise.brake.floor: 0 is below 1`,
		`sipvigil.yaml:16: supervise.brake.per_minute: 2 is not a share from 0 to 1`,
		`sipvigil.yaml:19: trunks[0].targets[0]: "sips:192.0.2.10" `+target,
		`sipvigil.yaml:19: trunks[0].targets[1]: "sip:192.0.2.10;transport=ws" has transport ws, where only udp, tcp and tls can be connected to`,
		`sipvigil.yaml:19: trunks[0].targets[2]: "sip:ann@pbx?a=b" `+target,
		`sipvigil.yaml:19: trunks[0].targets[3]: "sip:pbx:0" `+target,
		`sipvigil.yaml:20: trunks[0].sources[0]: "192.0.2.0/33" is not a network such as 192.0.2.0/24 or an address`,
		`sipvigil.yaml:20: trunks[0].sources[1]: "192.0.2.1/24" has bits set beyond its mask: `+
			`192.0.2.0/24 is meant, or an address without a mask`,
		`sipvigil.yaml:21: trunks[0].capacity: "lots" is not a whole number`,
		`sipvigil.yaml:22: trunks[1].name: there is a trunk "pbx" already`,
		`sipvigil.yaml:23: trunks[1].sources[0]: 198.51.100.7/32 belongs to trunk "pbx" already`,
		`sipvigil.yaml:24: trunks[2].name: "_other" `+name+` that begins with a letter or digit`,
		`sipvigil.yaml:24: trunks[2]: has neither targets nor sources`,
		`sipvigil.yaml:25: trunks[3].targets: is not a list`,
		`sipvigil.yaml:29: routes[0].from: there is no trunk "px"`,
		"sipvigil.yaml:29: routes[0].user: is not a regular expression: missing closing ): `^(1`",
		`sipvigil.yaml:29: routes[0].to[0]: there is no trunk "carrier"`,
		`sipvigil.yaml:29: routes[0].to[2]: trunk "phones" has no targets`,
		`sipvigil.yaml:30: routes[1].to: is empty: a route leads to at least one trunk`,
		`sipvigil.yaml:32: admin.listen: "0.0.0.0:8080" is not a loopback address: whoever reaches it could end calls. `+
			`Give the file of those who may in admin.tokens_file (sipvigil token new makes its lines), or use 127.0.0.1:8080`,
		`sipvigil.yaml:33: admin.tls: needs both cert and key, or neither`,
		`sipvigil.yaml:34: unknown key "colour", there are node, sip, store, supervise, trunks, routes, cdr, hep, admin`,
		`SIPVIGIL_SUPERVISE_JITTER: "lots" is not a number`,
		`--probe-timeout: "soon" is not a length of time such as 500ms, 30s or 3m`,
		`SIPVIGIL_SIP_RING_TIMEOUT: 1ms is below 1s`,
		`SIPVIGIL_SIP_DNS: "192.0.2.53" is not the address and port of a DNS server, such as 192.0.2.53:53`,
	)
}

func TestFileThatIsNoConfigurationIsAFault(t *testing.T) {
	test := func(text string, want ...string) {
		t.Helper()
		_, err := load(t, text, nil, nil)
		wantFaults(t, err, want...)
	}
	const keys = "node, sip, store, supervise, trunks, routes, cdr, hep, admin"
	test("")
	test("# nothing\n")
	test("trunks: [{name: a, sources: [192.0.2.1], trusted: maybe}]\n",
		`sipvigil.yaml:1: trunks[0].trusted: "maybe" is neither true nor false`)
	test("sip:\nstore: ~\n")
	test("- a\n", "sipvigil.yaml:1: is not a mapping with the keys "+keys)
	test("node: a\n---\nnode: b\n", "sipvigil.yaml:2: a second YAML document: the file holds one")
	test("sip: {listen: {a: b}}\nnode: [x]\ntrunks: [3]\n",
		"sipvigil.yaml:1: sip.listen: is not a list",
		"sipvigil.yaml:2: node: is not a single value",
		"sipvigil.yaml:3: trunks[0]: is not a mapping with the keys name, targets, sources, action, nat, trusted, monitor, coupled_to, refuse_with, capacity, cps, when_full, tls, credentials")
	const ten = "{name: a, targets: [sip:a]}, {name: b}, {name: c, targets: [sip:c]}, {name: d, targets: [sip:d]}, " +
		"{name: e, targets: [sip:e]}, {name: f, targets: [sip:f]}, {name: g, targets: [sip:g]}, {name: h, targets: [sip:h]}, " +
		"{name: i, targets: [sip:i]}, {name: j, targets: [sip:j]}, "
	test("trunks: ["+ten+"{name: [k], targets: [sip:k]}, {}]\n", // what is wrong with [10] does not hide [1]
		"sipvigil.yaml:1: trunks[10].name: is not a single value",
		"sipvigil.yaml:1: trunks[1]: has neither targets nor sources",
		"sipvigil.yaml:1: trunks[11]: has no name",
		"sipvigil.yaml:1: trunks[11]: has neither targets nor sources")
	test("sip.listen: [x]\nnode.x: y\n? [a]\n: b\n<<: {node: x}\n",
		`sipvigil.yaml:1: unknown key "sip.listen", there are `+keys,
		`sipvigil.yaml:2: unknown key "node.x", there are `+keys,
		`sipvigil.yaml:3: unknown key "", there are `+keys,
		`sipvigil.yaml:5: unknown key "<<", there are `+keys)
}

func TestWhatIsNoYAMLIsNamedWithItsLine(t *testing.T) {
	test := func(text, want string) {
		t.Helper()
		_, err := load(t, text, nil, nil)
		wantFaults(t, err, "sipvigil.yaml:"+want)
	}
	test("node: a: b\n", "1: mapping values are not allowed in this context")
	test("sip:\n  listen: [udp\n", "2: did not find expected ',' or ']'")
	test("sip:\n  listen: [udp\nnode: a\n", "2: did not find expected ',' or ']'")
	test("node: a\nsip:\n  unknown: drop\n   advertise: sip.example\n", "4: mapping values are not allowed in this context")
	test("node: a\nsip:\n\tunknown: drop\n", "3: found character that cannot start any token")
	test("# caf\u00e9\r\nnode: \"a\r\nsip: {}\r\n", "2: found unexpected end of stream")
	test("node: a\n---\nnode: [\n", "3: did not find expected node content")
	test("node: a\n# caf\xe9\n", "2: incomplete UTF-8 octet sequence")
	test("node: a\n\nsupervise: *nothing\n", "3: unknown anchor 'nothing' referenced")
	test(strings.Repeat("# a line\n", 999)+"node: [a\n"+strings.Repeat("# a line\n", 999), "1000: did not find expected ',' or ']'")
}

func TestFaultsOfFlagsAreNamedWithoutAFile(t *testing.T) {
	_, err := Load("/nowhere/sipvigil.yaml", none, map[string][]string{
		"store": {"tape"}, "next-hop": {"pbx.example"}, "listen": {"udp://127.0.0.1:5060", "5060"}, "admin": {"8080"}, "node": {""},
		"probe-interval": {"1"}, "probe-misses": {"0"},
	})
	wantFaults(t, err,
		`configuration file: open /nowhere/sipvigil.yaml: no such file or directory`,
		`--probe-interval: "1" is not a length of time such as 500ms, 30s or 3m`,
		`--node: "" is not a name of at most 63 letters, digits, '.', '_' and '-'`,
		`--listen: "5060" is not udp://host:port, or the like with tcp, tls, ws or wss`,
		`--next-hop: "pbx.example" is not a SIP URI such as sip:192.0.2.10:5060;transport=udp`,
		`--store: "tape" is no store: it is embedded, or redis://host:6379/0, rediss://…, `+
			`redis-sentinel://h1,h2,h3/MASTER/0, redis-cluster://h1,h2,h3`,
		`--probe-misses: 0 is below 1`,
		`--admin: "8080" is not host:port`,
	)
}

func TestConfigMadeInCodeIsJudgedToo(t *testing.T) {
	c := Default()
	c.Node = "test"
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	c.SIP.Listen, c.Supervise.Misses = nil, 0
	wantFaults(t, c.Validate(), "sip.listen: is empty: without a socket there are no calls", "supervise.misses: 0 is below 1")
}

func TestTheJournalIsForTheEmbeddedStoreOnly(t *testing.T) {
	_, err := load(t, "store:\n  url: redis://127.0.0.1\n  data: calls\n", nil, nil)
	wantFaults(t, err, `sipvigil.yaml:3: store.data: "calls" is for the embedded store, and store.url is another: give one of the two`)
	_, err = load(t, "store: {url: redis://127.0.0.1}\n", nil, map[string][]string{"data": {"calls"}})
	wantFaults(t, err, `--data: "calls" is for the embedded store, and store.url is another: give one of the two`)
	c, err := load(t, "", []string{"SIPVIGIL_STORE_DATA=calls"}, nil)
	if err != nil || c.Store.Data != "calls" {
		t.Errorf("%q, %v", c.Store.Data, err)
	}
}

func TestRoutesHaveNoEffectBesideANextHop(t *testing.T) {
	const file = "trunks: [{name: pbx, targets: [sip:192.0.2.10]}]\nroutes: [{to: [pbx]}]\n"
	_, err := load(t, file+"sip: {next_hop: sip:192.0.2.20}\n", nil, nil)
	wantFaults(t, err, "sipvigil.yaml:2: routes: have no effect beside sip.next_hop, where every call goes: give one of the two")
	for env, flags := range map[string]map[string][]string{"SIPVIGIL_SIP_NEXT_HOP=sip:192.0.2.20": nil, "": {"next-hop": {"sip:192.0.2.20"}}} {
		c, err := load(t, file, []string{env}, flags) // goes before the file
		if err != nil || c.SIP.NextHop != "sip:192.0.2.20" || c.Routes != nil {
			t.Errorf("%q, %q: next hop %q, routes %v, %v", env, flags, c.SIP.NextHop, c.Routes, err)
		}
	}
	c := Default()
	c.SIP.NextHop, c.Routes, c.Trunks = "sip:192.0.2.20", []Route{{To: []string{"pbx"}}}, []Trunk{{Name: "pbx", Targets: []string{"sip:192.0.2.10"}}}
	wantFaults(t, c.Validate(), "routes: have no effect beside sip.next_hop, where every call goes: give one of the two")
}

func TestStoreURLs(t *testing.T) {
	test := func(url, want string) {
		t.Helper()
		var got string
		if err := checkStoreURL(url); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", url, got, want)
		}
	}
	test("embedded", "")
	test("redis://127.0.0.1", "")
	test("rediss://user:p@ss@redis.example:6380/2", "")
	test("redis://[::1]:6379", "")
	test("redis-cluster://h1:7000,h2:7000,h3", "")
	test("redis-sentinel://:pw@h1,h2/main", "")
	test("redis-sentinel://h1,h2", "is no store: the name of Sentinel's master is missing: redis-sentinel://host,host/MASTER/0")
	test("redis://h1,h2", "is no store: several hosts need redis-sentinel or redis-cluster")
	test("redis://u:p%zz@h", "is no store: bad % escape in user or password")
	test("redis://h/calls", `is no store: "calls" is no database number`)
	test("redis-cluster://h/1", `is no store: "1" is no database number`)
	test("redis-sentinel://h/main/x", `is no store: "x" is no database number`)
	test("redis://h/0?dial_timeout=1s", "is no store: options after ? or # are not supported")
	test("redis://host:port", `has a host that is none: "host:port"`)
	test("http://host", "is no store: it is embedded, or "+storeForms)
}

func TestAdvertisedAddresses(t *testing.T) {
	for s, want := range map[string]bool{
		"203.0.113.7": true, "203.0.113.7:5060": true, "sip.example": true, "sip.example:5080": true,
		"2001:db8::1": true, "[2001:db8::1]:5060": true, "[2001:db8::1]": true,
		"0.0.0.0:5060": false, "::": false, "[::]:5060": false, "sip.example:0": false, "sip.example:x": false,
		"sip:example": false, "a b": false, "203.0.113.7:70000": false,
	} {
		if got := isAdvertised(s); got != want {
			t.Errorf("%s: %v, want %v", s, got, want)
		}
	}
}

func TestSourceIsANetworkOrAnAddress(t *testing.T) {
	for s, want := range map[string]string{
		"192.0.2.0/24": "192.0.2.0/24", "192.0.2.7": "192.0.2.7/32", "::ffff:192.0.2.7": "192.0.2.7/32",
		"2001:db8::/32": "2001:db8::/32", "2001:db8::1": "2001:db8::1/128", "0.0.0.0/0": "0.0.0.0/0",
	} {
		if got, err := ParseSource(s); err != nil || got != netip.MustParsePrefix(want) {
			t.Errorf("%s: %v, %v, want %s", s, got, err, want)
		}
	}
	for _, s := range []string{"", "pbx.example", "192.0.2.0/", "fe80::1%eth0", "192.0.2.1/24"} {
		if got, err := ParseSource(s); err == nil {
			t.Errorf("%q: %v, want an error", s, got)
		}
	}
}

func TestFaultsOfCredentialsNameTheirPlaceAndNoPassword(t *testing.T) {
	empty, two := passwordFile(t, "\n"), passwordFile(t, "secret\nother\n")
	_, err := load(t, `trunks:
  - {name: a, targets: [sip:192.0.2.1], credentials: {username: us}}
  - {name: b, targets: [sip:192.0.2.1], credentials: {password_file: `+empty+`}}
  - name: c
    targets: [sip:192.0.2.1]
    credentials: {username: "u:s", password_file: `+two+`}
  - {name: d, targets: [sip:192.0.2.1], credentials: {username: us, password: secret, password_file: nowhere}}
  - {name: e, targets: [sip:192.0.2.1], credentials: {realm: edge}}
`, nil, nil)
	wantFaults(t, err,
		`sipvigil.yaml:2: trunks[0].credentials: has a username but no password_file`,
		`sipvigil.yaml:3: trunks[1].credentials: has a password_file but no username`,
		`sipvigil.yaml:3: trunks[1].credentials.password_file: `+empty+` is empty`,
		`sipvigil.yaml:6: trunks[2].credentials.username: "u:s" holds a colon or a control character, which no password goes with`,
		`sipvigil.yaml:6: trunks[2].credentials.password_file: `+two+` has more than one line`,
		`sipvigil.yaml:7: trunks[3].credentials: unknown key "password", there are username, password_file, realm`,
		`sipvigil.yaml:7: trunks[3].credentials.password_file: open nowhere: no such file or directory`,
		`sipvigil.yaml:8: trunks[4].credentials: has a realm but no username`)
}

func passwordFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFaultsOfSources(t *testing.T) {
	_, err := load(t, "sip: {unknown: ignore, source_check: strict, takeover: move}\n", nil, nil)
	wantFaults(t, err,
		`sipvigil.yaml:1: sip.unknown: "ignore" is neither reject nor drop`,
		`sipvigil.yaml:1: sip.source_check: "strict" is neither enforce, log nor off`,
		`sipvigil.yaml:1: sip.takeover: "move" is neither none nor refresh`)
}

func TestNATIsAutoOrOff(t *testing.T) {
	_, err := load(t, "trunks: [{name: a, sources: [192.0.2.1], nat: auto}, {name: b, sources: [192.0.2.2], nat: on}]\n", nil, nil)
	wantFaults(t, err, `sipvigil.yaml:1: trunks[1].nat: "on" is neither auto nor off`)
	if c := agentConfig(Config{Trunks: []Trunk{{Name: "a", NAT: "off"}, {Name: "b", NAT: "auto"}, {Name: "c"}}}); !c.Trunks[0].NATOff ||
		c.Trunks[1].NATOff || c.Trunks[2].NATOff {
		t.Errorf("trunks are %+v", c.Trunks)
	}
}

func TestFaultsOfTLSSayWhatToDo(t *testing.T) {
	test := func(text string, want ...string) {
		t.Helper()
		_, err := load(t, text, nil, nil)
		wantFaults(t, err, want...)
	}
	const needs = " needs a certificate: set sip.tls.cert and sip.tls.key to its files"
	test("sip: {listen: [tls://127.0.0.1:5061, ws://127.0.0.1:80, wss://127.0.0.1:443]}",
		`sipvigil.yaml:1: sip.listen[0]: "tls://127.0.0.1:5061"`+needs,
		`sipvigil.yaml:1: sip.listen[2]: "wss://127.0.0.1:443"`+needs)
	test("sip: {tls: {cert: c.pem}}", "sipvigil.yaml:1: sip.tls.cert: is without sip.tls.key, the key that it is for")
	test("sip: {tls: {key: k.pem}}", "sipvigil.yaml:1: sip.tls.key: is without sip.tls.cert, the certificate that it is for")
	test("sip: {listen: [tcp://127.0.0.1:5061, tls://127.0.0.1:5061], tls: {cert: c, key: k}}",
		`sipvigil.yaml:1: sip.listen[1]: "tls://127.0.0.1:5061" is on the port of another`)
	test("trunks: [{name: a, targets: [sip:a.example], tls: {client_name: a.example}}]",
		"sipvigil.yaml:1: trunks[0].tls.client_name: has no effect without sources, by which requests of the trunk are known")
	test("trunks: [{name: a, sources: [192.0.2.1], tls: {client_name: a.example}}]",
		"sipvigil.yaml:1: trunks[0].tls.client_name: needs sip.tls.client_ca, the roots of the certificates that are demanded")
	test("trunks: [{name: a, sources: [192.0.2.1], tls: {client_name: '*.example'}}]",
		`sipvigil.yaml:1: trunks[0].tls.client_name: "*.example" is not a domain name`)
}
