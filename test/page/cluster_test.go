package page

import (
	"context"
	"fmt"
	"testing"
	"time"

	"sipvigil/cmd/sipvigil/daemon"
	"sipvigil/store/storetest"
)

// A page shows what happens on every node, not only on the one that serves it, and
// has the owner of a call ask it and hang it up.
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

	for i := range 5 {
		two.call(t, fmt.Sprint(20100+i), fmt.Sprint("+4930555000", i))
	}
	b.count(5)
	b.await(`[...document.querySelectorAll('.row .c-node')].every((n) => n.innerText === 'edge-2')`)
	b.await(`[...document.querySelectorAll('.row .c-state')].every((s) => s.innerText === 'alive')`)
	b.await(`[...document.querySelectorAll('.row .strip')].every((s) => s.ariaLabel.includes('answered'))`)
	b.await(`document.querySelector('.figure dd').innerText === '5'`)
	b.shot("cluster")

	b.click(".row .c-from")
	b.text(".call .summary", "edge-2")
	b.text(".facts", "200 OPTIONS")
	b.text(".step.e-answer", "200")
	b.click(".actions button")
	b.text(".said", "callee ") // what both have answered
	b.accessible("call of another node")
	b.shot("cluster-call")
	b.keys(esc)
	b.gone(".call")
	endThere(b)

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

// endThere hangs up three calls of another node: one, and two together.
func endThere(b *tab) {
	row := func(number string) string {
		return fmt.Sprintf(`[...document.querySelectorAll('.row:not(.over)')].find((r) => r.innerText.includes('%s'))`, number)
	}
	b.js(row("20104") + `.querySelector('.c-from').click()`)
	b.text("#call-title", "20104")
	b.click(".actions .danger")
	b.await(`document.querySelector('dialog[open]')`)
	b.keys("carrier asked")
	b.keys(enter)
	b.text("dialog .done", "BYE")
	b.click("dialog .buttons button")
	b.text(".call .summary", "operator")
	b.keys(esc)
	b.gone(".call")

	b.js(row("20102") + `.querySelector('input').click()`)
	b.js(row("20103") + `.querySelector('input').click()`)
	b.text(".marked", "2 marked")
	b.click(".marked .danger")
	b.text("dialog .plan", "2 calls would get BYE")
	b.do(focus("dialog input"))
	b.keys("maintenance")
	b.keys(enter)
	b.text("dialog .plan", "2 got BYE")
	b.shot("cluster-batch")
	b.click("dialog .buttons button")
	b.gone("dialog")
	b.text(".tally", "2 calls")
}

// What the brake holds at one node is released on the page of another.
func TestPageReleasesTheCallsOfAnotherNode(t *testing.T) {
	t.Parallel()
	redis, _ := storetest.Redis(t)
	site := func(name string) func(*daemon.Config) {
		return func(cfg *daemon.Config) {
			cfg.Node, cfg.Store.URL = name, redis
			cfg.Supervise.Interval, cfg.Supervise.Timeout, cfg.Supervise.Brake.Floor = time.Second, time.Second, 3
		}
	}
	two := serve(t, 0, site("edge-2"))
	one := two.beside(t, site("edge-1"))
	for i := range 3 {
		one.call(t, fmt.Sprint(20100+i), fmt.Sprint("+4930555000", i))
	}
	b := open(t, two.admin, "/", 1440, 760)
	b.await(`document.querySelectorAll('.row .c-state span.k-live').length === 3`)
	one.carrier.Silence()
	b.text(".brake", "3 calls held")
	b.text(".brake", "3 on edge-1")
	open(t, two.admin, "/?liveness=held", 1440, 760).count(3)
	b.click(".brake .danger")
	b.text("dialog", "End 3 held calls?")
	b.text("dialog", "3 on edge-1")
	b.accessible("release at another node")
	b.shot("cluster-release")
	b.click("dialog .danger")
	b.text("dialog .done", "3 calls will end")
	b.click("dialog .buttons button")
	b.await(`document.querySelectorAll('.row.over').length === 3`)
	b.text(".row.over .c-state", "callee-silent")
	one.carrier.Speak() // the BYEs are answered
	b.text(".tally", "0 calls")
	late := open(t, two.admin, "/?state=ended", 1440, 760) // when it has all happened
	late.await(`document.querySelectorAll('.row.over').length === 3`)
	late.await(`[...document.querySelectorAll('.row .c-node')].every((n) => n.innerText === 'edge-1')`)
}
