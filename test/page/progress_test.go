package page

import (
	"testing"

	"sipvigil/store"
)

// What takes a while shows how far it is, for those who see and for those who
// listen.
func TestPageShowsProgress(t *testing.T) {
	t.Parallel()
	c := gather(100)
	b := open(t, c.serve(t), "/", 1440, 760)
	b.text(".tally", "100 calls")
	b.gone(".progress li")
	start := c.board.Begin(store.TaskStart, "edge-1", 50_000)
	start.Add(20_000)
	drain := c.board.Begin(store.TaskDrain, "trunk carrier-a", 0)
	b.text(".progress li", "edge-1 starts, calls read back 20,000 of 50,000")
	b.text(".progress li", "drain of trunk carrier-a, calls that have ended 0")
	b.await(`document.querySelector('.progress progress').value === 20000 && document.querySelector('.progress progress').max === 50000`)
	b.text(".progress [aria-live=polite]", "edge-1 starts, calls read back: 25 percent")
	b.accessible("progress")
	b.shot("progress")
	late := open(t, c.serve(t), "/", 390, 844) // one that comes while it goes on
	late.text(".progress li", "20,000 of 50,000")
	late.accessible("narrow progress")
	late.shot("narrow-progress")
	start.Add(30_000)
	start.End()
	b.text(".progress li", "50,000 of 50,000 done")
	drain.Left(3)
	drain.End()
	b.text(".progress li", "0 of 3 stopped")
}

// A batch of all calls is tried, confirmed, watched and stopped, at first in its
// dialog, then in the head of the page.
func TestBatchIsWatchedAndStopped(t *testing.T) {
	t.Parallel()
	const calls = 3000
	c := gather(calls)
	b := open(t, c.serve(t), "/", 1440, 760)
	b.text(".tally", "3,000 calls")
	begin := func() {
		t.Helper()
		b.click(".heads input")
		b.text(".marked", "3,000 marked")
		b.click(".marked .danger")
		b.text("dialog .plan", "3,000 calls would get BYE on both legs, ten a second")
		b.text("dialog .plan", "and 2,995 more")
		b.do(focus("dialog input"))
		b.keys("the carrier asked")
		b.keys(enter)
		b.text("dialog .plan", "of 3,000 calls")
	}
	c.mu.Lock()
	tried := c.hungUp
	c.mu.Unlock()
	if tried != 0 {
		t.Errorf("%d calls were hung up before that was confirmed", tried)
	}
	begin()
	b.await(`document.querySelector('dialog progress').value > 0`)
	b.accessible("batch under way")
	b.shot("batch-running")
	b.click("dialog .plan button")
	b.text("dialog .plan", "stopped")
	b.text(".progress li", "stopped") // for a few seconds
	b.shot("batch-stopped")
	b.click("dialog .buttons button")
	b.gone("dialog")
	b.gone(".progress button")

	begin()
	b.click("dialog .buttons button") // it goes on
	b.text(".progress li", "edge-1 hangs up a batch")
	b.await(`[...document.querySelectorAll('.progress progress')].some((p) => p.value > 0)`)
	b.shot("batch-head")
	b.do(focus(".progress button")) // it moves when the batch before is shown no more
	b.keys(enter)
	b.gone(".progress button")
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hungUp == 0 || c.hungUp >= calls {
		t.Errorf("%d of %d calls were hung up", c.hungUp, calls)
	}
}
