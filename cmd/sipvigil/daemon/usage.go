package daemon

import (
	"sipvigil/b2bua"
	"sipvigil/store"
	"sipvigil/supervisor/web"
)

// usage is what the channels of the trunks are used for: of those of the
// configuration, and of [b2bua.OtherTrunk] if it has or had calls.
func (d *Daemon) usage() []web.TrunkUsage {
	of := d.supervisor.Trunks()
	var list []web.TrunkUsage
	add := func(name string, limit store.Limit) {
		used, counted := d.channels.used(name)
		list = append(list, web.TrunkUsage{Name: name, Limit: limit, Used: used, Counted: counted, Usage: of[name]})
	}
	for i := range d.cfg.Trunks {
		add(d.cfg.Trunks[i].Name, d.cfg.Trunks[i].limit())
	}
	if _, ok := of[b2bua.OtherTrunk]; ok {
		add(b2bua.OtherTrunk, store.Limit{})
	}
	return list
}

// tally is how the calls of this node fare, for the others to show.
func (d *Daemon) tally() store.Tally {
	o := d.supervisor.Overview()
	return store.Tally{PerSecond: o.PerSecond, Live: o.Live, Suspect: o.Suspect, Unproven: o.Unproven, Held: o.Held, Reclaimed: o.Reclaimed}
}
