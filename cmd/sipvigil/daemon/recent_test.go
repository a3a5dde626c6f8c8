package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"sipvigil/store"
	"sipvigil/supervisor"
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
			var cdr supervisor.CDR
			if err := json.Unmarshal(l.Line, &cdr); err != nil {
				t.Fatal(err)
			}
			got = append(got, l.Place+" "+cdr.ID)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("before %q: %v, want %v", before, got, want)
		}
	}
	test("")
	for i := range 5 {
		r.record(&supervisor.CDR{ID: fmt.Sprint("call-", i)})
	}
	test("", "5 call-4", "4 call-3", "3 call-2")
	test("3", "2 call-1", "1 call-0")
	test("1")
	for _, place := range []string{"6", "x", "-1"} {
		if _, err := r.Records(t.Context(), place, 3); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("place %q: %v", place, err)
		}
	}
	for i := range recentCDRs {
		r.record(&supervisor.CDR{ID: fmt.Sprint("more-", i)})
	}
	test("8", "7 more-1", "6 more-0") // the older ones are gone
	test("5")
}
