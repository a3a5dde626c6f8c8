package page

import (
	"fmt"
	"testing"
)

// count awaits this many rows.
func (b *tab) count(n int) {
	b.t.Helper()
	b.await(fmt.Sprintf(`document.querySelectorAll('.row').length === %d`, n))
}

// An operator's work, from the list to the end of calls, with pointer and
// keyboard.
func TestOperator(t *testing.T) {
	t.Parallel()
	const calls = 12
	w := serve(t, calls)
	b := open(t, w.admin, "/", 1440, 760)
	b.count(calls)
	b.await(`document.querySelectorAll('.row .c-state .k-live').length >= 12`)
	b.text(".trunk", "carrier")
	b.text(".trunk", "12 used · 18 free")
	b.text(".figure", "12")
	b.accessible("list")
	b.shot("list")
	filters(b, calls)
	link := open(t, w.admin, "/?number=%2B4930555001&sort=-from", 1440, 760)
	link.count(2)
	link.await(`document.querySelector('.row .c-from').innerText.startsWith('20111')`)
	ladder(b)
	hangup(b)
	others(b)
	batch(b, calls-1)
	looks(t, w)
}

// filters narrows the table, and looks at the URL.
func filters(b *tab, calls int) {
	b.do(focus("input[name=number]"))
	b.keys("5550003")
	b.count(1)
	b.await(`location.search === '?number=5550003'`)
	b.shot("filter")
	b.click(".filters .plain-button")
	b.count(calls)
	b.choose("liveness", "dying")
	b.text(".empty", "No call is like that")
	b.choose("liveness", "live")
	b.choose("trunk", "pbx")
	b.choose("node", "edge-1")
	b.choose("state", "confirmed")
	b.count(calls)
	b.choose("older", "1h")
	b.count(0)
	b.await(`location.search === '?liveness=live&trunk=pbx&node=edge-1&state=confirmed&older=1h'`)
	b.js(`history.back()`)
	b.count(calls)
	b.click(".filters .plain-button")
	b.click(".heads .c-to button")
	b.await(`location.search === '?sort=to'`)
	b.await(`document.querySelector('.row .c-to').innerText === '+49305550000'`)
	b.click(".heads .c-to button")
	b.await(`document.querySelector('.row .c-to').innerText === '+49305550011'`)
	b.await(`document.querySelector('.heads .c-to').ariaSort === 'descending'`)
}

// ladder opens the second call with the keyboard, and asks its legs.
func ladder(b *tab) {
	b.do(focus("#table"))
	b.keys(down)
	b.keys(down)
	b.keys(enter)
	b.text("#call-title", "20110 → +49305550010")
	b.text(".step.e-confirm", "confirmed")
	b.text(".step.e-answer", "200")
	b.text(".facts", "discriminating")
	b.text(".facts", "theirs")
	b.click(".actions button")
	b.text(".said", "caller 200 to OPTIONS")
	b.accessible("call")
	b.shot("ladder")
	b.keys(esc)
	b.gone(".call")
	b.await(`document.activeElement.id === 'table'`)
}

// hangup ends the call that the keyboard is at.
func hangup(b *tab) {
	b.keys(enter)
	b.click(".actions .danger")
	b.await(`document.querySelector('dialog[open]')`)
	b.click("dialog .danger")
	b.await(`document.querySelector('dialog input:invalid')`) // without a reason nothing happens
	b.keys("carrier asked")
	b.accessible("hang up")
	b.shot("hangup")
	b.keys(enter)
	b.text(".row.over .c-state", "operator") // for ten seconds
	b.text("dialog .done", "BYE")
	b.click("dialog .buttons button")
	b.text(".call .summary", "operator")
	b.text(".call .summary", "carrier asked")
	b.keys(esc)
	b.gone(".call")
}

// others looks at the other pages.
func others(b *tab) {
	b.click(".head nav a[href*=trunks]")
	b.text(".plain", "carrier")
	b.text(".plain tr", "carrier unwatched")
	b.await(`[...document.querySelectorAll('.plain tbody tr')].some((r) => r.cells[0].innerText === 'carrier' && r.cells[5].innerText === '30')`)
	b.accessible("trunks")
	b.shot("trunks")
	b.click(".head nav a[href*=nodes]")
	b.text(".plain", "edge-1")
	b.accessible("nodes")
	b.shot("nodes")
	b.click(".head nav a[href*=cdrs]")
	b.text(".plain", "operator")
	b.accessible("records")
	b.shot("records")
	b.choose("ended_by", "caller-gone")
	b.text(".page", "No record is like that")
	b.choose("ended_by", "operator")
	b.do(focus("input[name=number]"))
	b.keys("0555001")
	b.await(`location.search.endsWith('&ended_by=operator&number=0555001')`)
	b.text(".tally", "1 record")
	b.keys("9")
	b.text(".tally", "0 records")
	b.do(focus("input[name=trunk]"))
	b.keys("pbx")
	b.await(`location.search.endsWith('&trunk=pbx')`)
	b.click(".brand")
	b.await(`document.querySelector('.row')`)
}

// batch marks two calls, and hangs them up together.
func batch(b *tab, calls int) {
	b.text(".tally", fmt.Sprint(calls, " calls"))
	b.js(`[...document.querySelectorAll('.row:not(.over) input')].slice(0, 2).forEach((i) => i.click())`)
	b.text(".marked", "2 marked")
	b.click(".marked .danger")
	b.text("dialog .plan", "2 calls would get BYE")
	b.accessible("batch")
	b.shot("batch")
	b.do(focus("dialog input"))
	b.keys("maintenance")
	b.keys(enter)
	b.text("dialog .plan", "2 got BYE")
	b.text("dialog .plan", "done")
	b.shot("batch-done")
	b.click("dialog .buttons button")
	b.gone("dialog")
	b.text(".tally", fmt.Sprint(calls-2, " calls"))
	b.gone(".marked")
}

// looks are the page in the dark and on a phone.
func looks(t *testing.T, w *world) {
	var list struct{ Calls []struct{ ID string } }
	w.get(t, "/api/v1/calls", &list)
	dark := open(t, w.admin, "/?call="+list.Calls[0].ID, 1440, 760, "prefers-color-scheme:dark")
	dark.text(".step.e-answer", "200")
	dark.accessible("dark")
	dark.shot("dark")
	narrow := open(t, w.admin, "/", 390, 844)
	narrow.await(`document.querySelector('.row')`)
	if over := narrow.js(`document.documentElement.scrollWidth - innerWidth`); over != "0" {
		t.Errorf("the page is %s px wider than a phone", over)
	}
	narrow.accessible("narrow list")
	narrow.shot("narrow")
	narrow.click(".row .c-from")
	narrow.text(".step.e-answer", "200")
	narrow.accessible("narrow call")
	narrow.shot("narrow-call")
}
