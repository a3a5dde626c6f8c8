package page

import (
	"testing"

	"github.com/chromedp/chromedp"

	"sipvigil/cmd/sipvigil/daemon"
)

// A page on a phone says in words that its server is away, and shows the calls that
// there are when it is back.
func TestPageGoesOnWhenItsServerIsBack(t *testing.T) {
	t.Parallel()
	w := serve(t, 2)
	b := open(t, w.admin, "/", 320, 600)
	b.count(2)
	for _, wide := range []int64{412, 390, 360, 320} {
		b.do(chromedp.EmulateViewport(wide, 600))
		if b.js(`[...document.querySelectorAll('.figure dt')].some((e) => e.scrollWidth > e.clientWidth)`) != "false" {
			t.Errorf("on %d pixels a figure has no room for what it is called", wide)
		}
	}
	w.stop()
	b.text(".link", "connection lost, trying again")
	if size := b.js(`parseFloat(getComputedStyle(document.querySelector('.link')).fontSize)`); size == "0" {
		t.Error("nobody can read that")
	}
	if over := b.js(`document.documentElement.scrollWidth - innerWidth`); over != "0" {
		t.Errorf("the page is %s pixels wider than the screen", over)
	}
	b.accessible("away")
	b.shot("away")
	b.click(".row .c-from")
	b.text(".call .failed", "The server does not answer.")
	b.keys(esc)
	w.start(t, func(cfg *daemon.Config) { cfg.Admin.Listen = w.admin })
	b.await(`document.querySelector('.link.l-live')`)
	b.text(".table", "No calls now.") // those of before were in memory only
	w.call(t, "20199", "+49305550199")
	b.text(".row .c-from", "20199")
	b.count(1)
	b.shot("away-back")
	if b.js(`document.sameDocument`) != "true" {
		t.Error("the page was loaded again")
	}
}
