package page

import (
	"testing"

	"github.com/chromedp/chromedp"
)

// tabTo goes on with the Tab key, or back with Shift, until the keyboard is at an element like that.
func (b *tab) tabTo(selector string, how ...chromedp.KeyOption) {
	b.t.Helper()
	for range 40 {
		b.do(chromedp.KeyEvent(tabs, how...))
		if b.js(`document.activeElement.matches(`+quote(selector)+`)`) == "true" {
			return
		}
	}
	b.shot("keyboard-lost")
	b.t.Fatalf("the Tab key does not lead to %s", selector)
}

// A call is found, asked and hung up, and calls are marked and ended, without a
// pointer.
func TestKeyboardIsEnough(t *testing.T) {
	t.Parallel()
	w := serve(t, 6)
	b := open(t, w.admin, "/", 1440, 760)
	b.count(6)
	b.text(".row .c-state", "alive")
	const at = `document.querySelector('.row.active .c-from').innerText.startsWith(`

	b.keys("/")
	b.await(`document.activeElement.name === 'number'`)
	b.js(`document.activeElement.value = ''`) // Chromium's driver types the key although the page has used it
	b.keys("2010")
	b.await(`location.search === '?number=2010'`)
	b.tabTo(".filters .plain-button") // Clear
	b.keys(enter)
	b.await(`location.search === ''`)
	b.tabTo(".heads .c-from button")
	b.keys(enter)
	b.await(`location.search === '?sort=from'`)
	b.tabTo("#table", chromedp.KeyModifiers(chromedp.ModifierShift))
	b.keys(end)
	b.await(at + `'20105')`)
	b.keys(home)
	b.await(at + `'20100')`)
	b.keys(down)
	b.keys(down)
	b.keys(up)
	b.await(at + `'20101')`)
	b.shot("keyboard-table")

	b.keys(enter)
	b.text("#call-title", "20101 → +49305550001")
	b.await(`document.activeElement.id === 'call-title'`)
	b.tabTo(".actions button:not(.danger)")
	b.keys(enter)
	b.text(".said", "callee 200 to OPTIONS")
	b.tabTo(".actions .danger")
	b.keys(enter)
	b.await(`document.activeElement.name === 'reason'`)
	b.keys(esc) // and nothing happens
	b.gone("dialog")
	b.await(`document.activeElement.matches('.actions .danger')`)
	b.keys(enter)
	b.await(`document.activeElement.name === 'reason'`)
	b.keys("no answer at the desk")
	b.tabTo("dialog .danger")
	b.shot("keyboard-hangup")
	b.keys(enter)
	b.text("dialog .done", "BYE")
	b.await(`document.activeElement.innerText === 'Close'`)
	b.keys(enter)
	b.gone("dialog")
	b.text(".call .summary", "no answer at the desk")
	b.keys(esc)
	b.await(`document.activeElement.id === 'table'`)

	b.keys(end)
	b.keys(" ")
	b.keys(up)
	b.keys(" ")
	b.text(".marked", "2 marked")
	b.do(focus("input[name=number]"))
	b.tabTo(".marked .danger")
	b.keys(enter)
	b.text("dialog .plan", "2 calls would get BYE")
	b.await(`document.activeElement.name === 'reason'`)
	b.keys("done")
	b.keys(enter)
	b.text("dialog .plan", "2 got BYE")
	b.keys(esc)
	b.text(".tally", "3 calls")
}
