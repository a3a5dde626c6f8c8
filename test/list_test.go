package test

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sipvigil/store/storetest"
)

// page asks for some of the calls that match a query.
func (d *sipvigil) page(query string) (ids []string, next string) {
	d.t.Helper()
	var list struct {
		Calls []shown
		Next  string
	}
	if status, body := d.http("GET", "/api/v1/calls?"+query); status != 200 || json.Unmarshal(body, &list) != nil {
		d.t.Fatalf("calls?%s: %d %s", query, status, body)
	}
	for _, c := range list.Calls {
		ids = append(ids, c.ID)
	}
	return ids, list.Next
}

func TestTheListOfCallsIsThatOfAllNodes(t *testing.T) {
	t.Parallel()
	redisURL, _ := storetest.Redis(t)
	nodes, calls := busySite(t, redisURL)

	// Each node lists all in the same order. A page is asked of another node than
	// the one before, and calls end in the middle: what goes on is there once.
	all, _ := nodes[0].page("limit=1000")
	ended := map[string]bool{all[1]: true, all[len(all)/2]: true, all[len(all)-2]: true}
	var read []string
	next, pages := "", 0
	for {
		part, more := nodes[pages%3].page("limit=4&cursor=" + url.QueryEscape(next))
		read, next, pages = append(read, part...), more, pages+1
		if pages == 2 {
			for _, c := range calls {
				if ended[c.id] {
					hangUp(t, c.caller, c.callee)
					for _, d := range nodes {
						d.terminated(c.id)
					}
				}
			}
		}
		if more == "" {
			break
		}
		if len(part) != 4 {
			t.Errorf("page %d has %d calls, and is not the last", pages, len(part))
		}
	}
	without := func(ids []string) []string {
		return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return ended[id] })
	}
	if diff := cmp.Diff(without(all), without(read)); diff != "" {
		t.Errorf("pages (-want +got):\n%s", diff)
	}
	if !slices.IsSorted(all) || !slices.Contains(read, all[1]) || slices.Contains(read, all[len(all)-2]) {
		t.Errorf("pages: %v of %v, where %v ended after the second", read, all, ended)
	}

	for i, d := range nodes { // what one node has, as another one tells
		var want []string
		for _, c := range calls[i*5 : i*5+5] {
			if !ended[c.id] {
				want = append(want, c.id)
			}
		}
		var got []string
		for next := "first"; next != ""; {
			var part []string
			part, next = nodes[(i+1)%3].page("node=" + d.name + "&state=confirmed&limit=2&cursor=" + url.QueryEscape(strings.TrimPrefix(next, "first")))
			got = append(got, part...)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("calls of %s (-want +got):\n%s", d.name, diff)
		}
	}
	if got, _ := nodes[1].page("number=" + url.QueryEscape(calls[2].caller.CallID)); !slices.Equal(got, []string{calls[2].id}) {
		t.Errorf("by its Call-ID: %v", got)
	}
}
