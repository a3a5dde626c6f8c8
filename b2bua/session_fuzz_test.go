package b2bua

import (
	"testing"

	"sipvigil/b2bua/dialog"
)

// FuzzSession demands that a Session-ID whose remote parameter we write says
// nothing else than before.
func FuzzSession(f *testing.F) {
	const one, other = "ab30317f1a784dc48ff824d0d3715d86", "47755a9de7794ba387653f2099600ef2"
	for _, value := range []string{one, one + ";remote=" + other, one + " ; x=\"a;remote=b\" ;Remote = " + other, one + ";remote", one + ";remote=;remote=x"} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		id, remote, ok := readSession(value)
		if !ok || remote == "" {
			return
		}
		written := dialog.WithParam(value, "remote", other)
		if again, now, ok := readSession(written); !ok || again != id || now != other {
			t.Errorf("%q becomes %q: %s, %q, %t", value, written, again, now, ok)
		}
	})
}
