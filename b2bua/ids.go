package b2bua

import (
	"strings"
	"sync"

	"github.com/google/uuid"
)

// ids makes the ids of calls, many in one piece of memory: what is small and
// stays among what comes and goes would keep whole pages of it in use.
type ids struct {
	mu    sync.Mutex
	piece strings.Builder
}

const (
	idLength = 36
	idPiece  = 112 * idLength
)

func (i *ids) make() string {
	id := uuid.Must(uuid.NewV7()).String() // not kept
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.piece.Cap()-i.piece.Len() < idLength {
		i.piece.Reset()
		i.piece.Grow(idPiece)
	}
	from := i.piece.Len()
	i.piece.WriteString(id)
	return i.piece.String()[from:]
}
