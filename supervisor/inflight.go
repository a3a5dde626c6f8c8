package supervisor

import "time"

// inFlight are the legs whose probe is under way, in no order. A leg knows its
// place.
type inFlight struct {
	legs  []*leg
	until time.Duration // nothing is overdue before
}

// add takes in a leg that is asked now, and whose probe is not overdue before
// lost.
func (f *inFlight) add(l *leg, lost time.Duration) {
	if len(f.legs) == 0 {
		f.until = lost
	}
	f.legs = append(f.legs, l)
	l.place = int32(len(f.legs))
}

// remove takes out a leg if it is there. The last one takes its place.
func (f *inFlight) remove(l *leg) {
	if l.place == 0 {
		return
	}
	last := f.legs[len(f.legs)-1]
	f.legs[l.place-1], last.place = last, l.place
	f.legs[len(f.legs)-1] = nil
	f.legs = f.legs[:len(f.legs)-1]
	l.place = 0
}

// overdue returns the legs that were asked so long ago and whose call goes on.
func (f *inFlight) overdue(now, patient time.Duration) (overdue []*leg) {
	if now < f.until || len(f.legs) == 0 {
		return nil
	}
	f.until = now + patient
	for _, l := range f.legs {
		switch {
		case l.call.ending: // nobody waits for its answer
		case l.asked+patient <= now:
			overdue = append(overdue, l)
		default:
			f.until = min(f.until, l.asked+patient)
		}
	}
	return overdue
}
