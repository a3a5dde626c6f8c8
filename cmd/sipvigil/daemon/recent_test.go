package daemon

import (
	"errors"
	"fmt"
	"testing"

	"sipvigil/store"
)

func TestRecentRecordsAreReadNewestFirst(t *testing.T) {
	var r recent
	test := func(before string, want ...string) {
		t.Helper()
		list, err := r.Records(t.Context(), before, 3)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, l := range list {
			got = append(got, l.Place+" "+string(l.Line))
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("before %q: %v, want %v", before, got, want)
		}
	}
	test("")
	for i := range 5 {
		r.record(fmt.Append(nil, "line-", i))
	}
	test("", "5 line-4", "4 line-3", "3 line-2")
	test("3", "2 line-1", "1 line-0")
	test("1")
	for _, place := range []string{"6", "x", "-1"} {
		if _, err := r.Records(t.Context(), place, 3); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("place %q: %v", place, err)
		}
	}
	for i := range recentCDRs {
		r.record(fmt.Append(nil, "more-", i))
	}
	test("8", "7 more-1", "6 more-0") // the older ones are gone
	test("5")
}
