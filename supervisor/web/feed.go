package web

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sipvigil/store"
	"sipvigil/supervisor"
)

const (
	beat        = 100 * time.Millisecond // how often changes are passed on
	beats       = 10                     // of a second: each call has smaller news once in it
	mostChanges = 1000                   // of a beat; what is more waits for the next
	mostHeard   = 200
	linger      = time.Minute // how long changes are collected after the last reader has left, who may come back
	mostReaders = 64
)

// feed collects what changes and makes events of it, while somebody reads them.
// All readers share the last events; each has only a place in them, so that one
// that does not read costs nothing and is left behind. It is a
// supervisor.Follower: what it is told is only noted.
type feed struct {
	run  string // tells numbers of this process from those of another
	look func(id string) (store.Call, bool)

	awake atomic.Bool // somebody reads, or did a short while ago; set with the lock

	mu      sync.Mutex
	readers int
	left    time.Time           // when the last one did
	people  int                 // those of the readers who are clients; the other nodes are one more
	parted  time.Time           // when the last of these left
	changed map[string]struct{} // calls, to be passed on with the next beat
	due     map[string]struct{} // bit by bit within this second
	heard   map[string]struct{} // within the next
	queue   []message           // after all those
	lost    bool                // more happened than can be told
	ring    *ring               // only flush adds to it
	news    chan struct{}       // closed when it has more
	woken   chan struct{}
	arrived chan struct{} // a client has begun to read
}

// message is an event that has no number yet.
type message struct {
	kind    string
	body    any
	foreign bool // it happened on another node
}

// Reset has a reader load everything again, or the calls of one node.
type Reset struct {
	Node string `json:"node,omitempty"`
}

func newFeed(look func(id string) (store.Call, bool)) *feed {
	return &feed{
		run:     rand.Text()[:8],
		look:    look,
		changed: make(map[string]struct{}),
		due:     make(map[string]struct{}),
		heard:   make(map[string]struct{}),
		ring:    newRing(),
		news:    make(chan struct{}),
		woken:   make(chan struct{}, 1),
		arrived: make(chan struct{}, 1),
	}
}

// Changed, Heard, Ended, Left and Braked are those of supervisor.Follower.

func (f *feed) Changed(id string) {
	f.note(func() {
		f.drop(id)
		f.changed[id] = struct{}{}
	})
}

func (f *feed) Heard(id string) {
	f.note(func() {
		_, changed := f.changed[id]
		if _, due := f.due[id]; !changed && !due {
			f.heard[id] = struct{}{}
		}
	})
}

func (f *feed) Ended(r *supervisor.CDR) {
	f.note(func() {
		f.drop(r.ID)
		f.enqueue(message{kind: "ended", body: r})
	})
}

// Left has every reader load again: calls are about to move by the thousand.
func (f *feed) Left(id string) {
	f.note(func() {
		f.drop(id)
		f.lost = true
	})
}

func (f *feed) Braked(b supervisor.Braking, engaged bool) {
	f.tell("brake", BrakeChange{engaged, braking(b)})
}

// tell passes on an event of another kind.
func (f *feed) tell(kind string, body any) {
	f.note(func() { f.enqueue(message{kind: kind, body: body}) })
}

// note does something unless nobody would learn of it.
func (f *feed) note(do func()) {
	if !f.awake.Load() {
		return // who begins to read now sees it in what is read first
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.awake.Load() {
		do()
	}
}

// drop has nothing said about a call that was still to be. Called locked.
func (f *feed) drop(id string) {
	delete(f.heard, id)
	delete(f.due, id)
	delete(f.changed, id)
}

// enqueue adds to the queue. Called locked.
func (f *feed) enqueue(m message) {
	if len(f.queue) < ringEvents {
		f.queue = append(f.queue, m)
	} else {
		f.lost = true
	}
}

// flush makes events of what was noted, and of smaller news once a second. It
// is false once nobody has read for a while: all is forgotten then.
func (f *feed) flush(now time.Time, second bool) bool {
	ids, queue, number, awake := f.take(now, second)
	var frames []frame
	add := func(m message) {
		frames = append(frames, frame{f.frame(m, number), !m.foreign})
		number++
	}
	for _, id := range ids {
		if c, ok := f.look(id); ok && c.State != store.Terminated {
			add(message{kind: "call", body: call(&c)})
		}
	}
	for _, m := range queue {
		add(m)
	}
	f.publish(frames)
	return awake
}

// take returns what is to be told now, and the number that it begins with.
func (f *feed) take(now time.Time, second bool) (ids []string, queue []message, number uint64, awake bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.readers == 0 && now.Sub(f.left) >= linger {
		f.sleep()
		return nil, nil, 0, false
	}
	if second && len(f.due) == 0 {
		f.due, f.heard = f.heard, f.due
	}
	ids = some(f.changed, mostChanges, nil)
	ids = some(f.due, mostHeard, ids)
	if f.lost {
		queue, f.lost = append(queue, message{kind: "reset", body: Reset{}}), false
	}
	n := min(len(f.queue), mostChanges)
	queue = append(queue, f.queue[:n]...)
	if f.queue = f.queue[n:]; len(f.queue) == 0 {
		f.queue = nil
	}
	return ids, queue, f.ring.next, true
}

// some moves up to n ids out of a set.
func some(set map[string]struct{}, n int, to []string) []string {
	for id := range set {
		if n--; n < 0 {
			break
		}
		delete(set, id)
		to = append(to, id)
	}
	return to
}

// sleep forgets what was kept. Called locked.
func (f *feed) sleep() {
	f.awake.Store(false)
	clear(f.changed)
	clear(f.due)
	clear(f.heard)
	f.queue, f.lost = nil, false
	f.ring.skip()
}

func (f *feed) publish(frames []frame) {
	if len(frames) == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, one := range frames {
		f.ring.add(one)
	}
	close(f.news)
	f.news = make(chan struct{})
}

// frame is an event as the HTML standard has it, section 9.2.6.
func (f *feed) frame(m message, number uint64) []byte {
	return fmt.Appendf(nil, "id: %s\nevent: %s\ndata: %s\n", f.name(number), m.kind, encode(m.body)) // encode ends its line
}

func (f *feed) name(number uint64) string { return f.run + "-" + strconv.FormatUint(number, 10) }

// join adds a client that has the events up to the one of this name, and
// returns its place. It has a gap when not all that came after are still here.
// Without a name it begins with what happens next.
func (f *feed) join(last string) (place uint64, gap, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.people == mostReaders {
		return 0, false, false
	}
	f.people++
	select {
	case f.arrived <- struct{}{}:
	default:
	}
	place = f.enter()
	if last == "" {
		return place, false, true
	}
	run, text, _ := strings.Cut(last, "-")
	number, err := strconv.ParseUint(text, 10, 64)
	if err == nil && run == f.run {
		if _, kept := f.ring.after(number); kept {
			return number, false, true
		}
	}
	return place, true, true
}

// enter adds a reader of what happens next, and returns its place. Called
// locked.
func (f *feed) enter() (place uint64) {
	f.readers++
	if !f.awake.Load() {
		f.awake.Store(true)
		f.woken <- struct{}{} // has room: whoever runs has taken the one before
	}
	return f.ring.next - 1
}

// leave takes away a reader that has entered.
func (f *feed) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.readers--
	f.left = time.Now()
}

// part takes away a client that has joined.
func (f *feed) part() {
	f.leave()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.people--
	f.parted = f.left
}

// watched says whether there are clients, or were a short while ago.
func (f *feed) watched(now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.people > 0 || now.Sub(f.parted) < linger
}

// after returns the events after a place, the channel that is closed when there
// are more, and false when the reader was too slow for some of them.
func (f *feed) after(place uint64) ([]frame, <-chan struct{}, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	frames, ok := f.ring.after(place)
	return frames, f.news, ok
}

// serve passes changes on until nobody has read for a while, or ctx ends. It
// calls also once a second.
func (f *feed) serve(ctx context.Context, also func()) {
	ticks := time.NewTicker(beat)
	defer ticks.Stop()
	for n := 0; ctx.Err() == nil; n++ {
		second := n%beats == 0
		if second {
			also()
		}
		if !f.flush(time.Now(), second) {
			return
		}
		select {
		case <-ctx.Done():
		case <-ticks.C:
		}
	}
}
