package web

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRingKeepsTheLastInOrder(t *testing.T) {
	r := newRing()
	test := func(after uint64, want ...string) {
		t.Helper()
		frames, ok := r.after(after)
		var got []string
		for _, f := range frames {
			got = append(got, string(f.text))
		}
		if d := cmp.Diff(want, got); d != "" || !ok {
			t.Errorf("after %d: %v (-want +got):\n%s", after, ok, d)
		}
	}
	none := func(after uint64) {
		t.Helper()
		if _, ok := r.after(after); ok {
			t.Errorf("after %d there is something", after)
		}
	}
	test(0)
	none(1)
	r.add(frame{text: []byte("a")})
	r.add(frame{text: []byte("b")})
	test(0, "a", "b")
	test(1, "b")
	test(2)
	none(3)
	r.add(frame{text: make([]byte, ringBytes-1)})
	none(0)
	if r.first != 2 {
		t.Errorf("the oldest is %d", r.first)
	}
	r.skip()
	none(3)
	test(4)
	r.add(frame{text: []byte("c")})
	test(4, "c")
	for range ringEvents {
		r.add(frame{text: []byte("d")})
	}
	none(4)
	if r.bytes != ringEvents || r.next-r.first != ringEvents {
		t.Errorf("%d bytes, %d events", r.bytes, r.next-r.first)
	}
}
