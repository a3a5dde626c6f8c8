package embedded

// Held is how many calls the store holds, finished ones included.
func (s *Store) Held() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.active) + max(len(s.over), len(s.expiry))
}
