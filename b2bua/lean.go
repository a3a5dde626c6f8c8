package b2bua

// A map of Go never becomes smaller, and that of the transactions of a busy
// minute would be the largest thing that is left of it.
const (
	leanFrom  = 4096 // transactions: fewer are not worth it
	leanShare = 8    // how much of what there were must be over
)

// slim gives back the room of transactions that are over, when these were most
// of all. Called locked, when one is over.
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
