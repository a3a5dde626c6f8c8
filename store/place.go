package store

import (
	"cmp"
	"strconv"
	"strings"
)

// Place is where a call stands in a list.
type Place struct {
	badness int // counts where the order is Worst
	id      string
}

// Place is that of a call with this id, whose worse leg fares so.
func (s Sort) Place(id string, worse Liveness) Place {
	if s != Worst {
		return Place{id: id}
	}
	return Place{worse.Badness(), id}
}

// Compare is below 0 when a call at a stands before one at b.
func (s Sort) Compare(a, b Place) int {
	if s == Newest {
		return strings.Compare(b.id, a.id)
	}
	return cmp.Or(cmp.Compare(b.badness, a.badness), strings.Compare(a.id, b.id))
}

// Cursor names a place. It is the same whoever makes the list.
func (s Sort) Cursor(at Place) string {
	if s != Worst {
		return at.id
	}
	return strconv.Itoa(at.badness) + "." + at.id
}

// Find returns the place that a cursor names, if it is one of this order.
func (s Sort) Find(cursor string) (at Place, ok bool) {
	if s != Worst {
		return Place{id: cursor}, !strings.Contains(cursor, ".") // which is of Worst, and beyond every id
	}
	badness, id, ok := strings.Cut(cursor, ".")
	n, err := strconv.Atoi(badness)
	return Place{n, id}, ok && err == nil
}
