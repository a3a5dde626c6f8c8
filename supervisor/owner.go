package supervisor

import (
	"time"

	"sipvigil/store"
)

// recess is how often Run looks whether it may go on.
const recess = 250 * time.Millisecond

// may says whether calls are watched now, see [Config.May].
func (s *Supervisor) may() bool { return s.cfg.May == nil || s.cfg.May() }

// against says whether an answer speaks against its leg. It does not count
// while another node may have the call and ask with higher numbers.
func (v verdict) against() bool {
	return v == gone || v == doubtful || v == looped || v == missed
}

// Drop forgets a call without a word: another node owns it now.
func (s *Supervisor) Drop(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.calls[id]
	if k == nil {
		return
	}
	s.leave(k)
	for i := range k.legs {
		s.deliver(&k.legs[i], store.Answer{Kind: store.NoCall, At: time.Now()})
	}
	s.forget(k)
	s.follower.Left(id)
}
