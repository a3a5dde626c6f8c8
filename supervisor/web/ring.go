package web

// Limits of what is kept of the past.
const (
	ringEvents = 16384
	ringBytes  = 16 << 20
)

// ring keeps the last events, ready to be sent, by their numbers. Each event
// has the number after that of the one before, from 1 on.
type ring struct {
	frames [ringEvents]frame // by number, modulo
	first  uint64            // the oldest that is kept
	next   uint64            // what the next one will have
	bytes  int
}

// frame is an event, ready to be sent to a browser.
type frame struct {
	text []byte
	own  bool // it happened on this node
}

func newRing() *ring { return &ring{first: 1, next: 1} }

// add keeps one more, and drops the oldest where there is no room.
func (r *ring) add(f frame) {
	for r.first < r.next && (r.next-r.first == ringEvents || r.bytes+len(f.text) > ringBytes) {
		r.drop()
	}
	r.frames[r.next%ringEvents] = f
	r.bytes += len(f.text)
	r.next++
}

func (r *ring) drop() {
	old := &r.frames[r.first%ringEvents]
	r.bytes -= len(old.text)
	*old = frame{}
	r.first++
}

// skip forgets all, and leaves a gap that nobody can overlook.
func (r *ring) skip() {
	for r.first < r.next {
		r.drop()
	}
	r.next++
	r.first = r.next
}

// after returns what came after an event, or false when not all of that is
// kept, or there was no such event.
func (r *ring) after(number uint64) ([]frame, bool) {
	if number+1 < r.first || number >= r.next {
		return nil, false
	}
	frames := make([]frame, 0, r.next-number-1)
	for n := number + 1; n < r.next; n++ {
		frames = append(frames, r.frames[n%ringEvents])
	}
	return frames, true
}
