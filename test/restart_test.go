package test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sipvigil/store/storetest"
	"sipvigil/test/ua"
)

// dialMany sets up n calls.
func dialMany(t *testing.T, d *sipvigil, n int) []*talk {
	t.Helper()
	calls := make([]*talk, n)
	for i := range calls {
		calls[i] = dial(t, d)
	}
	return calls
}

// ids are the sorted ids of calls.
func ids(calls []*talk) []string {
	var list []string
	for _, c := range calls {
		list = append(list, c.id)
	}
	slices.Sort(list)
	return list
}

func wantListed(t *testing.T, d *sipvigil, want []*talk) {
	t.Helper()
	got := make(map[string]bool)
	for _, c := range d.calls() {
		if c.State != "confirmed" || c.Node != "edge-1" {
			t.Errorf("call %s is %s, of node %q", c.ID, c.State, c.Node)
		}
		got[c.ID] = true
	}
	if diff := cmp.Diff(ids(want), slices.Sorted(maps.Keys(got))); diff != "" {
		t.Errorf("calls listed (-want +got):\n%s", diff)
	}
}

func TestCallsOutliveACrash(t *testing.T) {
	t.Parallel()
	redisURL, _ := storetest.Redis(t)
	outliveACrash(t, redisURL, func() {})
}

func TestCallsOutliveACrashWithoutRedis(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	outliveACrash(t, "embedded", func() {
		f, err := os.OpenFile(filepath.Join(dir, "journal"), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString("half a frame"); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}, "--data", dir)
}

// outliveACrash kills a daemon during calls. What happens to its store before
// the next one starts is given.
func outliveACrash(t *testing.T, storeURL string, meanwhile func(), flags ...string) {
	d := serve(t, storeURL, flags...)
	calls := dialMany(t, d, 12)
	for _, c := range calls {
		c.leaps = true
	}
	probed(t, calls[11].callee, 2)

	d.kill()
	before := make(map[*ua.Dialog]uint32)
	for _, c := range calls {
		before[c.caller], before[c.callee] = c.caller.RemoteCSeq(), c.callee.RemoteCSeq()
	}
	meanwhile()
	d = d.again(storeURL, flags...)
	eventually(t, "the start says that all calls are read back", func() bool {
		for _, p := range d.progress() {
			if p.What == "start" && p.Done == len(calls) && p.Total == len(calls) && !p.Ended.IsZero() {
				return true
			}
		}
		return false
	})
	wantListed(t, d, calls)

	// A phone may hang up before it is asked anything.
	hangUp(t, calls[0].caller, calls[0].callee)
	hangUp(t, calls[1].callee, calls[1].caller)
	calls = calls[2:]

	// What a phone sends is relayed.
	if res, err := calls[0].caller.Request(limit(t, patience), "INFO", ""); err != nil || res.Status != 200 {
		t.Errorf("INFO after the restart: %v, %v", res, err)
	}

	var all sync.WaitGroup
	for _, c := range calls {
		for who, leg := range map[string]*ua.Dialog{"caller": c.caller, "callee": c.callee} {
			all.Go(func() {
				r, err := leg.Wait(limit(t, patience+patience), func(r ua.Received) bool {
					return r.Method == "OPTIONS" && r.CSeq > before[leg]
				})
				if err != nil {
					t.Errorf("%s was not asked again above %d: %v", who, before[leg], err)
				} else if r.CSeq <= before[leg] {
					t.Errorf("%s was asked with CSeq %d, after %d", who, r.CSeq, before[leg])
				}
			})
		}
	}
	all.Wait()
	wantListed(t, d, calls)

	calls[0].callee.Forget()
	wantReason(t, released(t, calls[0].caller), "SIP;cause=481", "Q.850;cause=41")
	if got := d.terminated(calls[0].id).EndedBy; got != "callee-gone" {
		t.Errorf("ended by %q", got)
	}
	hangUp(t, calls[1].caller, calls[1].callee)
	hangUp(t, calls[2].callee, calls[2].caller)
}

func TestRestartInOrderKeepsCallsToo(t *testing.T) {
	t.Parallel()
	redisURL, _ := storetest.Redis(t)
	d := serve(t, redisURL)
	calls := dialMany(t, d, 3)
	for _, c := range calls {
		c.leaps = true
	}
	probed(t, calls[2].callee, 1)
	d.stop()
	d = d.again(redisURL)
	wantListed(t, d, calls)
	for _, c := range calls {
		if n := len(requests(c.caller, "BYE")) + len(requests(c.callee, "BYE")); n != 0 {
			t.Errorf("%d BYEs were sent to calls that go on", n)
		}
		hangUp(t, c.callee, c.caller)
	}
}

func TestCallInRedisReadsLikeTheCall(t *testing.T) {
	t.Parallel()
	redisURL, server := storetest.Redis(t)
	d, r := serve(t, redisURL), look(t, server)
	c := dial(t, d)
	probed(t, c.caller, 2)
	probed(t, c.callee, 2)
	proven(t, d, c)
	eventually(t, "Redis has the call", func() bool { return r.hash(c.id)["callee.liveness"] == "alive" })

	// The phones' numbers are taken first: what they saw must have been reserved.
	seen := map[string]uint32{"caller": c.caller.RemoteCSeq(), "callee": c.callee.RemoteCSeq()}
	hash := r.hash(c.id)
	for side, n := range seen {
		mark, err := strconv.ParseUint(hash[side+".local_cseq"], 10, 32)
		if err != nil || uint32(mark) < n {
			t.Errorf("%s.local_cseq is %q, and the phone saw %d", side, hash[side+".local_cseq"], n)
		}
	}
	epoch, err := strconv.Atoi(hash["epoch"])
	if err != nil || epoch < 1 {
		t.Errorf("epoch is %q", hash["epoch"])
	}
	got := make(map[string]string)
	want := map[string]string{
		"state": "confirmed", "node": "edge-1",
		"caller.remote_cseq": "1", "caller.liveness": "alive", "callee.liveness": "alive",
		"callee.last_evidence": "200 OPTIONS",
	}
	for name := range want {
		got[name] = hash[name]
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("HGETALL (-want +got):\n%s", diff)
	}
	if active, owned := r.listed(c.id); !active || !owned {
		t.Errorf("the call is among the active ones: %v, among its node's: %v", active, owned)
	}
	hangUp(t, c.caller, c.callee)
	wantEnd(t, d, r, c.id, outcome{"caller-bye", "confirmed", "confirmed"})
}
