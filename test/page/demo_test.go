package page

import "testing"

func TestCallTurnsSuspectAndEndsWithoutAReload(t *testing.T) {
	t.Parallel()
	b := open(t, demo(t), "/", 1440, 760)
	b.text(".row .c-state", "alive")
	// mallory is the one who falls silent, once a minute. A call is suspect for two
	// seconds: a page whose machine is busy may miss them.
	const row = `[...document.querySelectorAll('.row')].find((r) => r.innerText.includes('mallory') && `
	b.within(3*patience, row+`r.querySelector('.c-state').innerText.includes('suspect'))`)
	b.shot("demo-suspect")
	b.await(row + `r.querySelector('.c-state').innerText.includes('caller-silent'))`)
	b.shot("demo-ended")
	if b.js(`document.sameDocument`) != "true" {
		t.Error("the page was loaded again")
	}
}
