package page

import (
	"testing"

	"sipvigil/cmd/sipvigil/daemon"
)

func TestTrunksAreShownWithTheirChannels(t *testing.T) {
	t.Parallel()
	w := serve(t, 2, func(cfg *daemon.Config) {
		pbx, carrier := &cfg.Trunks[0], &cfg.Trunks[1]
		pbx.Targets, carrier.Targets = carrier.Targets, nil
		pbx.Capacity, carrier.Capacity = daemon.Capacity{In: 60, Total: 100}, daemon.Capacity{In: 7}
		cfg.Routes = []daemon.Route{{From: "pbx", To: []string{"pbx"}}}
	})
	b := open(t, w.admin, "/", 1440, 760)
	b.count(2)
	b.text(".trunk", "4 used · 96 free") // a call from the PBX to itself has two of its channels
	b.click(".head nav a[href*=trunks]")
	row := func(name, cells string) {
		t.Helper()
		b.await(`[...document.querySelectorAll('.plain tbody tr')].some((r) => [0, 2, 5, 6].map((i) => r.cells[i].innerText).join('|') === '` + name + `|` + cells + `')`)
	}
	row("pbx", "4|100, 60 in|96")
	row("carrier", "0|7 in|–")
}
