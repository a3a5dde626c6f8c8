package redis

import (
	"crypto/tls"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	goredis "github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

func TestURLs(t *testing.T) {
	test := func(url string, want endpoint) {
		t.Helper()
		got, err := parse(url)
		if err != nil {
			t.Errorf("%s: %v", url, err)
			return
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(endpoint{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", url, diff)
		}
	}
	test("redis://localhost", endpoint{kind: "redis", addrs: []string{"localhost:6379"}})
	test("redis://192.0.2.1:7000/3", endpoint{kind: "redis", addrs: []string{"192.0.2.1:7000"}, db: 3})
	test("redis://[2001:db8::1]:7000/", endpoint{kind: "redis", addrs: []string{"[2001:db8::1]:7000"}})
	test("redis://[2001:db8::1]", endpoint{kind: "redis", addrs: []string{"[2001:db8::1]:6379"}})
	test("redis://u:p%40s%2fs+@h", endpoint{kind: "redis", addrs: []string{"h:6379"}, user: "u", password: "p@s/s+"})
	test("redis://:p@ss@h", endpoint{kind: "redis", addrs: []string{"h:6379"}, password: "p@ss"})
	test("rediss://h", endpoint{kind: "redis", tls: true, addrs: []string{"h:6379"}})
	test("redis-sentinel://h1,h2:7,h3/calls/2", endpoint{
		kind: "redis-sentinel", addrs: []string{"h1:26379", "h2:7", "h3:26379"}, master: "calls", db: 2,
	})
	test("redis-sentinel://:p@h1/calls", endpoint{
		kind: "redis-sentinel", addrs: []string{"h1:26379"}, master: "calls", password: "p",
	})
	test("redis-cluster://h1", endpoint{kind: "redis-cluster", addrs: []string{"h1:6379"}})
	test("rediss-cluster://h1,h2:7", endpoint{kind: "redis-cluster", tls: true, addrs: []string{"h1:6379", "h2:7"}})
}

func TestBadConfigurations(t *testing.T) {
	test := func(cfg Config, want ...string) {
		t.Helper()
		s, err := New(cfg, zap.NewNop())
		if s != nil || err == nil {
			t.Errorf("%+v is accepted", cfg)
			return
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%+v: %q lacks %q", cfg, err, w)
			}
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("%q tells the password", err)
		}
	}
	url := func(url string, want ...string) {
		t.Helper()
		test(Config{URL: url, Node: "n"}, append(want, "store URL: ")...)
	}
	url("")
	url("h:6379")
	url("redis:h", "is not of the form")
	url("http://u:secret@h", `scheme "http"`)
	url("redisx://u:secret@h", `scheme "redisx"`)
	url("-sentinel://h", "scheme")
	url("redis://", `"" is no host`)
	url("redis://:secret@:6379", `":6379" is no host`)
	url("redis://:secret@h:0", `"h:0" is no host`)
	url("redis://:secret@h:x", `"h:x" is no host`)
	url("redis://:secret@h:65536")
	url("redis://u:secret%zz@h", "bad % escape")
	url("redis://h1,h2", "several hosts")
	url("redis-cluster://h1,,h2", `"" is no host`)
	url("redis://h/x", `"x" is no database number`)
	url("redis://h/-1")
	url("redis-cluster://h/1", "no database number")
	url("redis-sentinel://h", "Sentinel's master is missing")
	url("redis://h/0?timeout=1s", "options")
	test(Config{URL: "redis://h"}, "the node has no name")
	test(Config{URL: "redis://h/x", Prefix: "a{b}"}, "no database number", "no name", `prefix "a{b}"`)
}

// The client is chosen by the scheme, never by the number of hosts, and gives
// up soon.
func TestClients(t *testing.T) {
	test := func(url string, want goredis.UniversalClient) {
		t.Helper()
		e, err := parse(url)
		if err != nil {
			t.Fatal(err)
		}
		c := e.client()
		defer func() { _ = c.Close() }()
		if reflect.TypeOf(c) != reflect.TypeOf(want) {
			t.Errorf("%s: %T, want %T", url, c, want)
		}
	}
	test("redis://h", &goredis.Client{})
	test("redis-sentinel://h1,h2,h3/m", &goredis.Client{})
	test("redis-cluster://h1", &goredis.ClusterClient{})

	e, err := parse("rediss://u:p@h/2")
	if err != nil {
		t.Fatal(err)
	}
	c := e.client().(*goredis.Client)
	defer func() { _ = c.Close() }()
	type options struct {
		Addr, User, Password string
		DB, Retries          int
		TLS                  uint16
		Timeouts             [3]string
	}
	o := c.Options()
	got := options{
		o.Addr, o.Username, o.Password, o.DB, o.MaxRetries, o.TLSConfig.MinVersion,
		[3]string{o.DialTimeout.String(), o.ReadTimeout.String(), o.WriteTimeout.String()},
	}
	want := options{"h:6379", "u", "p", 2, 1, tls.VersionTLS12, [3]string{"1s", "4s", "4s"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("options (-want +got):\n%s", diff)
	}
}

func TestShards(t *testing.T) {
	test := func(id, want string) {
		t.Helper()
		if got := shardOf(id); got != want {
			t.Errorf("shard of %q is %s, want %s", id, got, want)
		}
	}
	test("019579a0-0000-7000-8000-0000000000e7", "e7")
	for _, id := range []string{"", "x", "call {1}", "é"} {
		got := shardOf(id)
		if len(got) != 2 || !isHex(got[0]) || !isHex(got[1]) {
			t.Errorf("shard of %q is %q", id, got)
		}
	}
}
