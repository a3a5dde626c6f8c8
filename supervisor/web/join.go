package web

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"sipvigil/store"
)

// mostShare is how many bytes of calls a node puts on its share of a page: with
// dozens of nodes they still go through the one connection of who asks them.
const mostShare = 256 << 10

// callsOf returns a page of calls of all nodes. What only the node that has them
// knows each is asked for, for its share of the page. All shares begin after the same
// place, and so does the next page, whichever node makes it.
func (s *Server) callsOf(r *http.Request, q store.Query) (List, error) {
	calls, partial, err := s.page(r.Context(), q)
	if err != nil {
		return List{}, err
	}
	share := list(calls)
	share.Partial = partial
	if _, here := passedOn(r); here {
		share.shorten(q.Sort)
		return share, nil
	}
	if !q.Local() || q.Node == s.cfg.Node {
		return share, nil
	}
	others, known := s.sharesOf(r, &q, r.URL.Query())
	page := join(&q, append([]List{share}, others...))
	page.Partial = !known
	return page, nil
}

// sharesOf are those of the other nodes, or of the one that is meant, of the page that
// params ask for; and false when some are missing.
func (s *Server) sharesOf(r *http.Request, q *store.Query, params url.Values) (shares []List, all bool) {
	params.Set("limit", strconv.Itoa(q.PageLimit()))
	params.Set("cursor", q.Cursor)
	others, all := s.askOthers(r, "calls?"+params.Encode(), q.Node)
	for _, o := range others {
		var share List
		if o.err != nil || json.Unmarshal(o.body, &share) != nil {
			all = false
			continue
		}
		shares = append(shares, share)
	}
	return shares, all
}

// join puts the shares of a page together. A call that is in two of them counts as
// the first has it.
func join(q *store.Query, shares []List) List {
	page := List{Calls: []Call{}}
	until := (*store.Place)(nil) // what is beyond may lack calls of a share that is cut off there
	for _, share := range shares {
		page.Calls = append(page.Calls, share.Calls...)
		if n := len(share.Calls); share.Next != "" && n > 0 {
			if last := share.Calls[n-1].place(q.Sort); until == nil || q.Sort.Compare(last, *until) < 0 {
				until = &last
			}
		}
	}
	slices.SortStableFunc(page.Calls, func(a, b Call) int { return q.Sort.Compare(a.place(q.Sort), b.place(q.Sort)) })
	page.Calls = slices.CompactFunc(page.Calls, func(a, b Call) bool { return a.ID == b.ID })
	n := min(len(page.Calls), q.PageLimit())
	if until != nil {
		for n > 0 && q.Sort.Compare(page.Calls[n-1].place(q.Sort), *until) > 0 {
			n--
		}
	}
	if n < len(page.Calls) || until != nil {
		page.cut(n, q.Sort)
	}
	return page
}

// shorten leaves the last calls of a share out if it is too long.
func (l *List) shorten(by store.Sort) {
	size := 0
	for i := range l.Calls {
		if size += len(encode(l.Calls[i])); size > mostShare && i > 0 {
			l.cut(i, by)
			return
		}
	}
}

// cut leaves all but the first n calls, of which there is one at least, to the
// next page.
func (l *List) cut(n int, by store.Sort) {
	l.Calls, l.Next = l.Calls[:n], by.Cursor(l.Calls[n-1].place(by))
}

func (c *Call) place(by store.Sort) store.Place { return by.Place(c.ID, store.Liveness(c.Liveness)) }
