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

	"sipvigil/store/storetest"
	"sipvigil/test/ua"
)

// comparedConfig is kamailio as a proxy whose dialog module asks both sides of
// each call every 30 s, its shortest interval, and ends a call with BYE when
// one does not answer. All else is as it is by default.
const comparedConfig = `#!KAMAILIO
log_stderror=yes
children=2
disable_tcp=yes
auto_aliases=no
listen=udp:ADDR
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "siputils.so"
loadmodule "textops.so"
loadmodule "dialog.so"
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
	addr, _ := startCompared(t, 64)
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

// startCompared starts kamailio with this many MiB for its dialogs.
func startCompared(t testing.TB, memory int) (addr string, pid int) {
	t.Helper()
	dir := t.TempDir()
	addr = fmt.Sprintf("127.0.0.1:%d", storetest.FreePort(t))
	config := filepath.Join(dir, "kamailio.cfg")
	if err := os.WriteFile(config, []byte(strings.ReplaceAll(comparedConfig, "ADDR", addr)), 0o600); err != nil {
		t.Fatal(err)
	}
	log := &lines{}
	cmd := exec.Command("kamailio", "-f", config, "-DD", "-E", "-Y", dir, "-m", strconv.Itoa(memory), "-M", "8")
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
