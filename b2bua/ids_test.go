package b2bua

import (
	"testing"

	"github.com/google/uuid"
)

func TestIDsAreUUIDsInTheOrderInWhichTheyAreMade(t *testing.T) {
	var made ids
	last := ""
	for i := range 3 * idPiece / idLength {
		id := made.make()
		if u, err := uuid.Parse(id); err != nil || u.Version() != 7 || u.String() != id {
			t.Fatalf("id %d is %q", i, id)
		}
		if id <= last {
			t.Fatalf("id %d is %q, after %q", i, id, last)
		}
		last = id
	}
}
