package web

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"sipvigil/store"
	"sipvigil/supervisor"
)

// lists has two nodes with calls that they hold, and calls that ended there, whose ids
// are in turn one of edge-1 and two of edge-2.
func (c *cluster) lists(n int) (held, over []string) {
	c.one.calls.all, c.two.calls.all = []store.Call{}, []store.Call{}
	lives := []store.Liveness{store.Silent, store.Suspect, store.Gone, store.Alive}
	for i := range n {
		h, o := confirmed(), confirmed()
		h.ID, o.ID = fmt.Sprintf("held-%04d", i), fmt.Sprintf("over-%04d", i)
		h.Legs[store.Callee].Liveness, o.Legs[store.Callee].Liveness = lives[i%4], lives[i*7%4]
		o.State, o.Legs[store.Callee].Held = store.Terminated, ""
		s := c.two
		if i%3 == 0 {
			s = c.one
		}
		h.Node, o.Node = s.server.cfg.Node, s.server.cfg.Node
		s.calls.all = append(s.calls.all, h, o)
		held, over = append(held, h.ID), append(over, o.ID)
	}
	return held, over
}

// letters counts those that ask for something from now on.
func (c *cluster) letters() *int {
	n := new(int)
	c.air.carry = func(l letter, arrive func()) (int, error) {
		if l.Kind == letterDo {
			*n++
		}
		arrive()
		return 1, nil
	}
	return n
}

func listed(t *testing.T, s *Server, query string) List {
	t.Helper()
	w := do(s, "GET", "/api/v1/calls?"+query)
	var page List
	if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil || w.Code != 200 {
		t.Fatalf("calls?%s: %d %s", query, w.Code, w.Body)
	}
	return page
}

func idsOf(page List) (ids []string) {
	for _, c := range page.Calls {
		ids = append(ids, c.ID)
	}
	return ids
}

// pages reads a list to its end, each page from another node than the one before.
func (c *cluster) pages(t *testing.T, query string) (ids []string) {
	t.Helper()
	q, faults := parseQuery(query)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	s, other := c.one.server, c.two.server
	for cursor, more := "", true; more; s, other = other, s {
		page := listed(t, s, query+"&cursor="+url.QueryEscape(cursor))
		if most := q.PageLimit(); page.Partial || len(page.Calls) > most {
			t.Errorf("calls?%s: partial is %t, %d calls on a page", query, page.Partial, len(page.Calls))
		}
		ids = append(ids, idsOf(page)...)
		cursor, more = page.Next, page.Next != ""
	}
	return ids
}

// Calls that are held, and calls that ended lately: the store knows neither.
func TestListsOfWhatOnlyNodesKnowAreTheClusters(t *testing.T) {
	onPair(t, func(t *testing.T, c *cluster) {
		held, over := c.lists(20)
		worst := map[bool][]string{}
		for _, s := range []*stage{c.one, c.two} {
			for _, k := range s.calls.all {
				worst[k.State == store.Terminated] = append(worst[k.State == store.Terminated], fmt.Sprint(9-k.Liveness().Badness(), k.ID))
			}
		}
		for query, oldest := range map[string][]string{"held=true": held, "state=terminated": over} {
			newest, worst := slices.Clone(oldest), worst[query != "held=true"]
			slices.Reverse(newest)
			slices.Sort(worst)
			for i := range worst {
				worst[i] = worst[i][1:]
			}
			for sort, want := range map[string][]string{"": oldest, "&sort=started": oldest, "&sort=-started": newest, "&sort=-liveness": worst} {
				for _, limit := range []int{1, 2, 3, 7, 19, 20, 21, 1000} {
					if d := cmp.Diff(want, c.pages(t, fmt.Sprint(query, sort, "&limit=", limit))); d != "" {
						t.Errorf("%s%s in pages of %d (-want +got):\n%s", query, sort, limit, d)
					}
				}
			}
			some := slices.DeleteFunc(slices.Clone(oldest), func(id string) bool { return !strings.Contains(id, "-000") })
			for _, s := range []*stage{c.one, c.two} {
				for i := range s.calls.all {
					if k := &s.calls.all[i]; slices.Contains(some, k.ID) {
						k.Legs[store.Callee].CallID = "some"
					}
				}
			}
			if d := cmp.Diff(some, c.pages(t, query+"&trunk=pbx&number=some&limit=2")); d != "" {
				t.Errorf("%s of those with a Call-ID (-want +got):\n%s", query, d)
			}
			if got := c.pages(t, query+"&trunk=another"); got != nil {
				t.Errorf("with a filter that none meets: %v", got)
			}
		}
	})
}

// A call that two nodes list is on its way from the one to the other.
func TestACallThatTwoNodesListIsThereOnce(t *testing.T) {
	onPair(t, func(t *testing.T, c *cluster) {
		held, _ := c.lists(9)
		c.one.calls.all = slices.Clone(c.two.calls.all)
		want := slices.DeleteFunc(held, func(id string) bool {
			return !slices.ContainsFunc(c.two.calls.all, func(k store.Call) bool { return k.ID == id })
		})
		for limit := range 8 {
			if d := cmp.Diff(want, c.pages(t, fmt.Sprint("held=true&limit=", limit+1))); d != "" {
				t.Errorf("in pages of %d (-want +got):\n%s", limit+1, d)
			}
		}
	})
}

func TestOnlyWhoKnowsSomethingIsAsked(t *testing.T) {
	onPair(t, func(t *testing.T, c *cluster) {
		c.lists(6)
		for query, want := range map[string]int{"": 0, "liveness=silent": 0, "state=ending": 0, "held=true": 1, "state=terminated": 1,
			"held=true&node=edge-1": 0, "held=true&node=edge-2": 1, "held=true&node=edge-3": 0} {
			letters := c.letters()
			page := listed(t, c.one.server, query)
			if *letters != want || page.Partial {
				t.Errorf("calls?%s: asked %d times, want %d; partial %t", query, *letters, want, page.Partial)
			}
		}
		there := listed(t, c.two.server, "held=true&node=edge-2")
		if d := cmp.Diff(there, listed(t, c.one.server, "held=true&node=edge-2")); d != "" || len(there.Calls) != 4 {
			t.Errorf("of edge-2, as edge-1 lists them (-want +got):\n%s", d)
		}
	})
}

func TestAListSaysThatANodeCouldNotBeAsked(t *testing.T) {
	here := []string{"held-0000", "held-0003"}
	onPair(t, func(t *testing.T, c *cluster) {
		all, _ := c.lists(6)
		test := func(what string, partial bool, want []string) {
			t.Helper()
			page := listed(t, c.one.server, "held=true")
			if d := cmp.Diff(want, idsOf(page)); d != "" || page.Partial != partial {
				t.Errorf("%s: partial is %t (-want +got):\n%s", what, page.Partial, d)
			}
		}
		test("all is well", false, all)
		c.two.calls.err = fmt.Errorf("disk on fire")
		test("it refuses", true, here)
		c.two.calls.err = nil
		c.air.carry = func(letter, func()) (int, error) { return 1, nil }
		test("it stands still", true, here)
		c.air.carry = nil
		nodes := c.one.server.cfg.Nodes
		c.one.server.cfg.Nodes = func(context.Context) ([]store.Node, error) { return nil, store.ErrUnavailable }
		test("the store is away", true, here)
		if page := listed(t, c.one.server, "held=true&node=edge-1"); page.Partial {
			t.Error("of this node, while the store is away: it is partial")
		}
		c.one.server.cfg.Nodes = nodes
		test("all is well again", false, all)
		take := c.air.boxes["edge-2"]
		c.air.box("edge-2", nil)
		test("it is not there", true, here)
		if page := listed(t, c.one.server, "held=true&node=edge-2"); !page.Partial || len(page.Calls) > 0 {
			t.Errorf("of that node: %+v", page)
		}
		if page := listed(t, c.one.server, "held=true&node=edge-1"); page.Partial || len(page.Calls) != len(here) {
			t.Errorf("of this node: %+v", page)
		}
		c.mu.Lock()
		c.nodes[1].State = store.NodeDead // what it knew is gone with it
		c.mu.Unlock()
		test("it is dead", false, here)
		c.air.box("edge-2", take)
	})
}

// However much strangers have said, a share goes into a letter, and nothing is left out.
func TestSharesAreBounded(t *testing.T) {
	onPair(t, func(t *testing.T, c *cluster) {
		_, over := c.lists(300)
		for _, s := range []*stage{c.one, c.two} {
			for i := range s.calls.all {
				s.calls.all[i].Legs[i%2].UserAgent = strings.Repeat("\x01<\"", i%700)
			}
		}
		s := c.two.calls.all
		s[1].Legs[0].UserAgent = strings.Repeat("x", 2*mostShare) // the first that ended there
		most := 0
		c.air.carry = func(l letter, arrive func()) (int, error) {
			if l.Kind == letterDone {
				most = max(most, len(l.Outcome.Body))
			}
			arrive()
			return 1, nil
		}
		if d := cmp.Diff(over, c.pages(t, "state=terminated&limit=1000")); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
		if most < 2*mostShare || most > 2*mostShare+10_000 {
			t.Errorf("a share of %d bytes", most)
		}
		s[1].Legs[0].UserAgent, most = "", 0
		if d := cmp.Diff(over, c.pages(t, "state=terminated&limit=1000")); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
		if most > mostShare+100 || most < mostShare/2 {
			t.Errorf("a share of %d bytes", most)
		}
	})
}

// Shares may end anywhere: a page holds what is known of all.
func TestSharesOfManyNodesAreJoined(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		by := rapid.SampledFrom([]store.Sort{store.Oldest, store.Newest, store.Worst}).Draw(t, "sort")
		lives := []string{"alive", "suspect", "silent", "gone"}
		nodes := make([][]Call, rapid.IntRange(1, 5).Draw(t, "nodes"))
		var want []string
		var all []Call
		for i := range rapid.IntRange(0, 40).Draw(t, "calls") {
			c := Call{ID: fmt.Sprintf("%02d", i), Liveness: rapid.SampledFrom(lives).Draw(t, "liveness")}
			all = append(all, c)
			for range rapid.IntRange(1, 2).Draw(t, "times") { // it may be on its way
				at := rapid.IntRange(0, len(nodes)-1).Draw(t, "node")
				if !slices.Contains(nodes[at], c) {
					nodes[at] = append(nodes[at], c)
				}
			}
		}
		order := func(a, b Call) int { return by.Compare(a.place(by), b.place(by)) }
		for _, list := range append(nodes, all) {
			slices.SortFunc(list, order)
		}
		for _, c := range all {
			want = append(want, c.ID)
		}
		var got []string
		q := store.Query{Sort: by, Limit: rapid.IntRange(1, 12).Draw(t, "limit")}
		for more := true; more; more = q.Cursor != "" {
			var shares []List
			for _, list := range nodes {
				if after, ok := by.Find(q.Cursor); ok && q.Cursor != "" {
					list = slices.DeleteFunc(slices.Clone(list), func(c Call) bool { return by.Compare(c.place(by), after) <= 0 })
				}
				share := List{Calls: list}
				if most := rapid.IntRange(1, q.Limit).Draw(t, "share"); len(list) > most {
					share.cut(most, by)
				}
				shares = append(shares, share)
			}
			page := join(&q, shares)
			if n := len(page.Calls); n > q.Limit || n == 0 && page.Next != "" {
				t.Fatalf("%d calls on a page of %d", n, q.Limit)
			}
			got = append(got, idsOf(page)...)
			q.Cursor = page.Next
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("(-want +got):\n%s", d)
		}
	})
}

func TestExportsAreWholeOrNone(t *testing.T) {
	onPair(t, func(t *testing.T, c *cluster) {
		_, over := c.lists(250)
		export := func() *httptest.ResponseRecorder {
			return do(c.one.server, "GET", "/api/v1/calls?state=terminated", "Accept", "text/csv")
		}
		rows, err := csv.NewReader(export().Body).ReadAll()
		if err != nil || len(rows) != len(over)+1 || rows[1][0] != over[0] || rows[250][0] != over[249] {
			t.Errorf("%d rows, %v", len(rows), err)
		}
		asked := c.letters()
		count := c.air.carry
		c.air.carry = func(l letter, arrive func()) (int, error) {
			if *asked > 0 && l.Kind == letterDo {
				return 0, nil
			}
			return count(l, arrive)
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Error("a list that cannot be read to its end does not break off")
				}
			}()
			export()
		}()
		wantProblem(t, export(), 503, "calls of other nodes are missing", "as JSON", "node=edge-1")
		for query, want := range map[string]int{"node=edge-1": 84, "node=edge-1&limit=9": 9} {
			w := do(c.one.server, "GET", "/api/v1/calls?state=terminated&"+query, "Accept", "application/jsonl")
			if got := strings.Count(w.Body.String(), "\n"); w.Code != 200 || got != want {
				t.Errorf("%s: %d, %d lines, want %d", query, w.Code, got, want)
			}
		}
	})
}

func TestTheTableSaysWhyCallsOfOtherNodesAreHeld(t *testing.T) {
	onPair(t, func(t *testing.T, c *cluster) {
		c.lists(900) // more than one share is held
		row := func(id, node string) supervisor.Row {
			row := supervisor.Row{Call: confirmed()}
			row.ID, row.Node, row.Legs[store.Callee].Held = id, node, ""
			return row
		}
		here := row("held-0000", "edge-1")
		c.one.calls.rows = []supervisor.Row{here, row("held-0001", "edge-2"), row("held-0899", "edge-2"), row("other", "edge-2")}
		test := func(node string, asked bool, want ...string) {
			t.Helper()
			letters := c.letters()
			body := do(c.one.server, "GET", "/api/v1/table?node="+node).Body.String()
			if d := cmp.Diff(want, heldIn(t, body)); d != "" || (*letters > 0) != asked {
				t.Errorf("the table of %q, asked %d times (-want +got):\n%s", node, *letters, d)
			}
		}
		test("", true, "held-0001", "held-0899")
		test("edge-2", true, "held-0001", "held-0899")
		test("edge-1", false)
		c.air.carry = func(letter, func()) (int, error) { return 1, nil }
		began := time.Now()
		if body := do(c.one.server, "GET", "/api/v1/table").Body.String(); heldIn(t, body) != nil || strings.Count(body, "held-0") != 3 {
			t.Errorf("while edge-2 says nothing: %s", body)
		}
		if took := time.Since(began); took != soonTime {
			t.Errorf("while edge-2 says nothing it took %v", took)
		}
		c.one.calls.rows = []supervisor.Row{here}
		test("", false)
	})
}

// heldIn lists the calls in a table whose callee is held.
func heldIn(t *testing.T, table string) (ids []string) {
	t.Helper()
	var texts []string
	ended := false
	for line := range strings.Lines(table) {
		var l struct {
			Texts []string
			Calls [][]any
			End   bool
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		texts, ended = append(texts, l.Texts...), l.End
		for _, row := range l.Calls {
			if leg := row[10].([]any); texts[int(leg[5].(float64))] != "" {
				ids = append(ids, row[0].(string))
			}
		}
	}
	if !ended {
		t.Errorf("it has no end: %s", table)
	}
	return ids
}
