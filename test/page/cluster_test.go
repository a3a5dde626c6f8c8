package page

import (
	"context"
	"testing"
	"time"

	"sipvigil/cmd/sipvigil/daemon"
	"sipvigil/store/storetest"
)

// A page shows what happens on every node, not only on the one that serves it.
func TestPageShowsTheCallsOfAnotherNode(t *testing.T) {
	t.Parallel()
	redis, _ := storetest.Redis(t)
	site := func(name string) func(*daemon.Config) {
		return func(cfg *daemon.Config) {
			cfg.Node, cfg.Store.URL = name, redis
			cfg.Supervise.Interval, cfg.Supervise.Timeout, cfg.Supervise.Misses = time.Second, time.Second, 50
		}
	}
	one := serve(t, 0, site("edge-1"))
	two := one.beside(t, site("edge-2"))
	b := open(t, one.admin, "/", 1440, 760)
	b.await(`[...document.querySelectorAll('.figure')].some((f) => f.innerText.includes('nodes') && f.innerText.includes('2'))`)
	b.text(".empty", "No calls now")

	two.call(t, "20100", "+49305550000")
	two.call(t, "20101", "+49305550001")
	b.count(2)
	b.await(`[...document.querySelectorAll('.row .c-node')].every((n) => n.innerText === 'edge-2')`)
	b.await(`[...document.querySelectorAll('.row .c-state')].every((s) => s.innerText === 'alive')`)
	b.await(`[...document.querySelectorAll('.row .strip')].every((s) => s.ariaLabel.includes('answered'))`)
	b.await(`document.querySelector('.figure dd').innerText === '2'`)
	b.shot("cluster")

	b.click(".row .c-from")
	b.text(".elsewhere", "edge-2")
	b.text(".facts", "200 OPTIONS")
	b.accessible("call of another node")
	b.shot("cluster-call")
	b.keys(esc)

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := two.callers[0].Bye(ctx); err != nil {
		t.Fatal(err)
	}
	b.text(".row.over .c-state", "caller-bye")
	two.callers[1].Silence()
	b.await(`[...document.querySelectorAll('.row .c-caller .strip')].some((s) => s.ariaLabel.includes('missed'))`)
	two.callers[1].Speak()
	b.text(".row:not(.over) .c-state", "alive")

	two.stop() // edge-1 goes on with its call
	b.text(".row:not(.over) .c-node", "edge-1")
	b.text(".tally", "1 call")
	if b.js(`document.sameDocument`) != "true" {
		t.Error("the page was loaded again")
	}
	// What happened before edge-2 began to tell was read, and edge-2's calls only.
	b.await(`performance.getEntriesByType('resource').some((e) => e.name.endsWith('/table?node=edge-2'))`)
	if n := b.js(`performance.getEntriesByType('resource').filter((e) => e.name.endsWith('/table')).length`); n != "1" {
		t.Errorf("the page has read the whole table %s times", n)
	}
}
