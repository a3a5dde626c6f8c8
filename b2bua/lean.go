package b2bua

// A Go map never shrinks: after one busy minute those of the transactions would
// stay the largest thing in memory.
const (
	leanFrom  = 4096 // transactions: fewer are not worth it
	leanShare = 8    // how much of what there were must be over
)

// slim makes the maps anew when few transactions are left of many. Called locked,
// when one is over.
func (t *transactions) slim() {
	n := len(t.clients) + len(t.servers) + len(t.first)
	t.most = max(t.most, n)
	if t.most < leanFrom || n > t.most/leanShare {
		return
	}
	t.most = n
	t.clients, t.servers, t.first = copied(t.clients), copied(t.servers), copied(t.first)
}

func copied[K comparable, V any](m map[K]V) map[K]V {
	c := make(map[K]V, len(m))
	for k, v := range m {
		c[k] = v
	}
	return c
}
