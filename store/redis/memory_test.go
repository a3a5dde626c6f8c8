package redis_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"sipvigil/store"
	"sipvigil/store/redis"
	"sipvigil/store/storetest"
)

// typicalCall is a call as they are between a PBX and a carrier, with what is
// random in it being random.
func typicalCall() store.Call {
	c := storetest.Call()
	c.Node = "edge-1"
	digits := func(n int) string {
		var b strings.Builder
		for range n {
			b.WriteByte('0' + byte(rand.IntN(10)))
		}
		return b.String()
	}
	const base32 = "0123456789abcdefghijklmnopqrstuv"
	tag := func() string {
		b := []byte("06h09r9r")
		for range 28 {
			b = append(b, base32[rand.IntN(32)])
		}
		return string(b)
	}
	extension, number := digits(4), "+4420"+digits(8)
	caller := `"Extension ` + extension + `" <sip:` + extension + `@pbx.example.com>`
	callee := "<sip:" + number + "@sbc.example.net>"
	c.Legs[store.Caller].Dialog = store.Dialog{
		CallID: digits(19) + "@pbx.example.com", LocalTag: "r" + tag(), RemoteTag: fmt.Sprintf("as%08x", rand.Uint32()),
		LocalURI: callee, RemoteURI: caller, Target: "sip:" + extension + "@192.0.2.10:5060;transport=udp",
		Transport: "udp", Peer: "192.0.2.10:5060", Listener: "192.0.2.1:5060", Seen: "192.0.2.10",
		UserAgent: "Asterisk PBX 18.9-cert4",
		Allow:     "INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, SUBSCRIBE, NOTIFY, INFO, PUBLISH, MESSAGE",
		LocalMark: 32, RemoteCSeq: 102,
	}
	c.Legs[store.Callee].Dialog = store.Dialog{
		CallID: fmt.Sprintf("%016x%016x", rand.Uint64(), rand.Uint64()), LocalTag: "e" + tag(),
		RemoteTag: fmt.Sprintf("gK%08x", rand.Uint32()), LocalURI: caller, RemoteURI: callee,
		Target:    "sip:" + number + "@198.51.100.20:5060;transport=udp",
		RouteSet:  []string{"<sip:198.51.100.5;lr>"},
		Transport: "udp", Peer: "198.51.100.5:5060", Listener: "192.0.2.1:5060", Seen: "198.51.100.5",
		UserAgent: "Ericsson MTAS - CXP9020729/5 R11D01",
		Allow:     "INVITE, ACK, BYE, CANCEL, UPDATE, PRACK, INFO, NOTIFY, OPTIONS",
		LocalMark: 32,
	}
	return c
}

// typicalHealth is that of a leg that answers.
func typicalHealth() store.Health {
	return store.Health{
		Liveness: store.Alive, LastAlive: time.Now(), LastEvidence: "200 OPTIONS",
		RTT: time.Duration(rand.IntN(90_000_000)), Method: "OPTIONS", Answers: true, Calibration: "discriminating",
	}
}

// BenchmarkCall measures what a held call costs in Redis, sets and lists of
// keys included, and how many commands its changes are there, those that the
// script runs included.
func BenchmarkCall(b *testing.B) {
	const n = 10_000
	for b.Loop() {
		url, server := storetest.Redis(b)
		admin := connect(b, server)
		s := open(b, redis.Config{URL: url})
		stop := storetest.Start(b, s)
		calls := make([]store.Call, n)
		for i := range calls {
			calls[i] = typicalCall()
		}
		storetest.Eventually(b, "the store is connected", func() bool { return s.Status().Reachable })
		memory := info(b, admin, "memory", "used_memory:")
		step := func(name string, change func(c *store.Call)) {
			b.Helper()
			scripts, all := info(b, admin, "commandstats", "cmdstat_evalsha:calls="), info(b, admin, "stats", "total_commands_processed:")
			busy := info(b, admin, "commandstats", "cmdstat_evalsha:calls=#,usec=")
			for i := range calls {
				change(&calls[i])
			}
			storetest.Settled(b, s)
			b.ReportMetric((info(b, admin, "commandstats", "cmdstat_evalsha:calls=")-scripts)/n, "scripts/"+name)
			b.ReportMetric((info(b, admin, "stats", "total_commands_processed:")-all)/n, "commands/"+name)
			b.ReportMetric((info(b, admin, "commandstats", "cmdstat_evalsha:calls=#,usec=")-busy)/n, "us-of-redis/"+name)
		}
		step("save", func(c *store.Call) { s.Save(*c) })
		step("change", func(c *store.Call) { c.Legs[store.Caller].RemoteCSeq++; s.Save(*c) })
		step("probe", func(c *store.Call) {
			s.SaveHealth(store.LegHealth{ID: c.ID, Side: store.Caller, Health: typicalHealth()})
		})
		step("probe", func(c *store.Call) {
			s.SaveHealth(store.LegHealth{ID: c.ID, Side: store.Callee, Health: typicalHealth()})
		})
		b.ReportMetric((info(b, admin, "memory", "used_memory:")-memory)/n, "B/call")
		step("finish", func(c *store.Call) { s.Finish(*c, time.Minute) })
		stop()
		server.Stop()
	}
}

// info is a number out of INFO, 0 where there is none yet. A # in its name stands
// for another number.
func info(b *testing.B, admin *goredis.Client, section, name string) float64 {
	b.Helper()
	text, err := admin.Info(b.Context(), section).Result()
	if err != nil {
		b.Fatal(err)
	}
	before, name, also := strings.Cut(name, "#")
	_, rest, _ := strings.Cut(text, "\n"+before)
	if also {
		_, rest, _ = strings.Cut(rest, name)
	}
	end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	n, _ := strconv.ParseFloat(rest[:max(end, 0)], 64)
	return n
}
