package web

import (
	"bytes"
	"compress/flate"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
)

// bulletin is what a node tells the others at once: events of its calls. They
// are numbered within a session, so that a hole is seen; a session begins where
// a node begins to tell all. One without a session tells nothing but that the
// node is there.
//
// On the wire it is text, packed as RFC 1951 has it: a line with the session and
// the number, then a line with the kind and the body of each event.
type bulletin struct {
	session string
	number  uint64
	events  []bulletinEvent
}

type bulletinEvent struct {
	kind string
	body []byte // JSON
}

const (
	bulletinSize = 256 << 10        // of events that are told at once
	bulletinMost = 4 * bulletinSize // that are read
)

// bulletinKinds are the events that concern those who look at another node.
var bulletinKinds = []string{"call", "ended"}

// eventOf takes the event out of a frame, if the other nodes are to know it.
func eventOf(f frame) (bulletinEvent, bool) {
	_, rest, _ := bytes.Cut(f.text, []byte("\nevent: "))
	kind, body, _ := bytes.Cut(rest, []byte("\ndata: "))
	e := bulletinEvent{string(kind), bytes.TrimRight(body, "\n")}
	return e, f.own && slices.Contains(bulletinKinds, e.kind)
}

// bulletinWriter packs bulletins, one after the other.
type bulletinWriter struct {
	packer *flate.Writer
	packed bytes.Buffer
}

func newBulletinWriter() *bulletinWriter {
	w := &bulletinWriter{}
	var err error
	if w.packer, err = flate.NewWriter(&w.packed, flate.BestSpeed); err != nil {
		panic(err) // the level is one
	}
	return w
}

// pack returns a bulletin for the wire. It is valid until the next.
func (w *bulletinWriter) pack(b *bulletin) []byte {
	w.packed.Reset()
	w.packer.Reset(&w.packed)
	fmt.Fprintf(w.packer, "%s %d\n", b.session, b.number)
	for _, e := range b.events {
		fmt.Fprintf(w.packer, "%s %s\n", e.kind, e.body)
	}
	if err := w.packer.Close(); err != nil {
		panic(err) // a buffer takes all
	}
	return w.packed.Bytes()
}

// unpackBulletin reads what came by wire. Events of a kind that is not known are
// left out: they are those of a later version.
func unpackBulletin(message []byte) (b bulletin, err error) {
	text, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(message)), bulletinMost+1))
	if err != nil {
		return b, fmt.Errorf("unpack: %w", err)
	}
	if len(text) > bulletinMost {
		return b, errors.New("it is too long")
	}
	first, rest, ok := bytes.Cut(text, []byte("\n"))
	session, number, _ := bytes.Cut(first, []byte(" "))
	b.session = string(session)
	if b.number, err = strconv.ParseUint(string(number), 10, 64); err != nil || !ok {
		return b, errors.New("it has no number")
	}
	for line := range bytes.Lines(rest) {
		kind, body, _ := bytes.Cut(bytes.TrimSuffix(line, []byte("\n")), []byte(" "))
		if !slices.Contains(bulletinKinds, string(kind)) {
			continue
		}
		if !json.Valid(body) || body[0] != '{' {
			return b, fmt.Errorf("an event %s holds no object", kind)
		}
		b.events = append(b.events, bulletinEvent{string(kind), body})
	}
	return b, nil
}
