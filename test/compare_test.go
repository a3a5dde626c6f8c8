//go:build compare

package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"sipvigil/store/storetest"
	"sipvigil/test/ua"
)

// comparedConfig is kamailio as a proxy whose dialog module asks both sides of
// each call every 30 s, its shortest interval, and ends a call with BYE when
// one does not answer. All else is as it is by default, but for what compared
// says.
const comparedConfig = `#!KAMAILIO
log_stderror=yes
children=CHILDREN
disable_tcp=yes
auto_aliases=no
listen=udp:ADDR
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "siputils.so"
loadmodule "textops.so"
#!ifdef REDIS
loadmodule "db_redis.so"
modparam("db_redis", "schema_path", "/usr/share/kamailio/db_redis/kamailio")
modparam("db_redis", "verbosity", 0)
modparam("db_redis", "keys", "version=entry:table_name")
modparam("db_redis", "keys", "dialog=entry:hash_entry,hash_id")
modparam("db_redis", "keys", "dialog_vars=entry:hash_entry,hash_id,dialog_key&dialog:hash_entry,hash_id")
#!endif
loadmodule "dialog.so"
#!ifdef REDIS
modparam("dialog", "db_url", "REDIS_URL/0")
modparam("dialog", "db_mode", 1)
#!endif
modparam("dialog", "ka_timer", 10)
modparam("dialog", "ka_interval", 30)
modparam("dialog", "send_bye", 1)
request_route {
	if (has_totag()) {
		if (loose_route() || is_method("ACK")) { t_relay(); exit; }
		sl_send_reply("404", "No Route");
		exit;
	}
	if (is_method("CANCEL")) { if (t_check_trans()) t_relay(); exit; }
	if (is_method("INVITE")) {
		record_route();
		dlg_manage();
		dlg_set_property("ka-src");
		dlg_set_property("ka-dst");
	}
	t_relay();
}
`

// buildFlags: what is compared is what would be used.
var buildFlags []string

// outage is how long the carrier cannot be reached, and later how long one
// waits for what follows from that; patient is how long one waits for a dead
// phone to be found.
const (
	outage  = 80 * time.Second
	later   = 80 * time.Second
	patient = 4 * time.Minute
)

// TestCompare does the same to 300 calls through sipvigil and through kamailio,
// each with the intervals that it has by default, and prints what became of
// them.
func TestCompare(t *testing.T) {
	var mu sync.Mutex
	var rows []string
	t.Cleanup(func() {
		slices.Sort(rows)
		fmt.Printf("\n%-10s %-28s %9s %7s  %s\n%s\n", "", "of 300 calls", "healthy", "dead", "after", strings.Join(rows, "\n"))
	})
	for name, connect := range map[string]func(testing.TB) ([]*talk, *ua.Phone){"sipvigil": throughSipvigil, "kamailio": throughKamailio} {
		report := func(t *testing.T, what string, calls, dead []*talk, since time.Time) {
			ended, found, after := became(calls, dead, since)
			if name == "sipvigil" && (ended > 0 || found < len(dead)) {
				t.Errorf("%s: sipvigil ended %d healthy calls and found %d of %d dead ones", what, ended, found, len(dead))
			}
			mu.Lock()
			defer mu.Unlock()
			rows = append(rows, fmt.Sprintf("%-10s %-28s %3d ended %d found  %s", name, what, ended, found, after))
		}
		t.Run(name+", carrier away for "+outage.String(), func(t *testing.T) {
			t.Parallel()
			calls, carrier := connect(t)
			since := time.Now()
			carrier.Drop(everything)
			<-time.After(outage)
			carrier.Drop(nil)
			<-time.After(later)
			report(t, "carrier away for "+outage.String(), calls, nil, since)
		})
		t.Run(name+", five phones dead", func(t *testing.T) {
			t.Parallel()
			calls, _ := connect(t)
			since, dead := time.Now(), calls[:5]
			for _, one := range dead {
				one.callee.Silence()
			}
			limit := time.After(patient)
			for _, one := range dead {
				select {
				case <-one.caller.Ended():
				case <-limit:
				}
			}
			report(t, "five phones dead", calls, dead, since)
		})
	}
}

// became counts the healthy calls that were ended and the dead ones that were
// found, and says after how long the latter, or else the former, were.
func became(calls, dead []*talk, since time.Time) (ended, found int, after string) {
	var times, early []time.Duration
	for _, one := range calls {
		end := one.caller.End()
		switch {
		case end.By != ua.ByPeer:
		case slices.Contains(dead, one):
			times = append(times, end.At.Sub(since))
		default:
			early = append(early, end.At.Sub(since))
		}
	}
	ended, found = len(early), len(times)
	if found == 0 {
		times = early
	}
	if len(times) > 0 {
		slices.Sort(times)
		after = fmt.Sprintf("%.0f to %.0f s", times[0].Seconds(), times[len(times)-1].Seconds())
	}
	return ended, found, after
}

func throughSipvigil(t testing.TB) ([]*talk, *ua.Phone) {
	c := gather(t, many, "", "--probe-interval", "30s", "--probe-timeout", "32s")
	return c.calls, c.carrier
}

func throughKamailio(t testing.TB) ([]*talk, *ua.Phone) {
	pbx, carrier := trunkPhone(t, "pbx", "127.0.0.2"), trunkPhone(t, "carrier", "127.0.0.3")
	addr, _ := startCompared(t, compared{memory: 64, children: 2})
	// Both sides of a call have the port of its media in common.
	port := regexp.MustCompile(`m=audio (\d+)`)
	callees := make(chan *talk, many)
	carrier.Handle(func(in *ua.Incoming) {
		if d, err := in.Accept(ua.SDP(40002)); err == nil {
			callees <- &talk{id: port.FindStringSubmatch(string(in.Request.Body))[1], callee: d}
		}
	})
	callers := make(map[string]*ua.Dialog)
	for i := range many {
		d, err := pbx.Call(limit(t, patience), "sip:"+addr, carrier.URI(), ua.Offer{SDP: ua.SDP(20000 + i)})
		if err != nil {
			t.Fatalf("call through kamailio: %v", err)
		}
		callers[strconv.Itoa(20000+i)] = d
	}
	var calls []*talk
	for range many {
		one := <-callees
		one.caller = callers[one.id]
		calls = append(calls, one)
	}
	return calls, carrier
}

// compared says how kamailio is started.
type compared struct {
	memory   int // MiB for its dialogs
	children int
	redis    string // where its dialogs are kept as soon as they change, or empty
	// quick takes the allocator f_malloc. That of the Debian package's default
	// helps to find mistakes and takes far longer, the more so the more there is
	// in memory.
	quick bool
}

// startCompared starts kamailio and returns when it answers.
func startCompared(t testing.TB, how compared) (addr string, pid int) {
	t.Helper()
	dir := t.TempDir()
	addr = fmt.Sprintf("127.0.0.1:%d", storetest.FreePort(t))
	config := filepath.Join(dir, "kamailio.cfg")
	text := strings.NewReplacer("ADDR", addr, "CHILDREN", strconv.Itoa(how.children), "REDIS_URL", how.redis).Replace(comparedConfig)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"-f", config, "-DD", "-E", "-Y", dir, "-m", strconv.Itoa(how.memory), "-M", "8"}
	if how.redis != "" {
		versionTables(t, how.redis)
		args = append(args, "-A", "REDIS")
	}
	if how.quick {
		args = append(args, "-x", "fm", "-X", "fm")
	}
	log := &lines{}
	cmd := exec.Command("kamailio", args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatalf("start kamailio (Debian: apt-get install kamailio): %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait() // how it ended does not matter
		if t.Failed() {
			t.Logf("log of kamailio:\n%s", tail(log.String(), 4000))
		}
	})
	probe := trunkPhone(t, "probe", "127.0.0.2")
	if _, err := probe.Request(limit(t, patience), "sip:"+addr, "OPTIONS", probe.URI(), ""); err != nil {
		t.Fatalf("kamailio does not answer: %v\n%s", err, tail(log.String(), 4000))
	}
	return addr, cmd.Process.Pid
}

// versionTables writes to Redis what kamailio looks for when it starts.
func versionTables(t testing.TB, url string) {
	t.Helper()
	options, err := goredis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	client := goredis.NewClient(options)
	defer func() { _ = client.Close() }()
	for table, version := range map[string]int{"dialog": 7, "dialog_vars": 1} {
		if err := client.HSet(limit(t, patience), "version:entry::"+table, "table_name", table, "table_version", version).Err(); err != nil {
			t.Fatal(err)
		}
	}
}
