package store

// HistoryWindow tells which events a watch may still start from: the indexes of
// the oldest and the newest one kept, both 0 when there is none.
func (s *Store) HistoryWindow() (first, last uint64) {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	if past := &s.hub.past; past.first < past.next {
		return past.first, past.next - 1
	}
	return 0, 0
}
