package raftnode

import (
	"errors"
	"time"

	"go.etcd.io/raft/v3/raftpb"
)

// suspicion collects evidence that this member has lost data, or that its log differs
// from the leader's. One message proves nothing: it may be forged, and the conclusion
// makes the operator remove the member's data. The leader repeats true evidence after
// every heartbeat.
type suspicion struct {
	from, term  uint64 // the leader that gives the evidence
	index       uint64 // the entry in question
	first, last int    // ticks of the evidence
	count       int    // 0 for no suspicion
}

const (
	// evidenceCount is how often a leader has to give evidence before it is enough;
	// the first and the last time are at least an election timeout apart.
	evidenceCount = 3
	// evidenceForgets is after how many election timeouts evidence that is not
	// repeated is forgotten.
	evidenceForgets = 2
)

// add takes in evidence and reports whether it is enough.
func (s *suspicion) add(from, term, index uint64, now, election int) bool {
	if s.count == 0 || from != s.from || term != s.term {
		*s = suspicion{from: from, term: term, first: now}
	}
	s.index, s.last = index, now
	s.count++
	return s.count >= evidenceCount && now-s.first >= election
}

// expire forgets evidence that is not repeated.
func (s *suspicion) expire(now, election int) {
	if s.count > 0 && now-s.last > evidenceForgets*election {
		s.clear()
	}
}

func (s *suspicion) clear()       { *s = suspicion{} }
func (s *suspicion) active() bool { return s.count > 0 }

// logged keeps what the loop has logged about messages, so that forged ones do not fill
// the log.
type logged struct {
	doubt   time.Time       // when a doubt was logged last; zero for never
	quiet   bool            // the present doubt was not logged
	refused map[uint64]bool // senders of impossible messages; at most refusedMax
}

const (
	// doubtPeriod is the least time between two logged doubts.
	doubtPeriod = time.Minute
	// refusedMax bounds the senders that are remembered. Their IDs may be forged.
	refusedMax = 100
)

// inDoubt reports whether this member doubts its own log, and publishes and logs that.
func (l *loop) inDoubt() bool {
	now := l.core.Suspicious()
	if now == l.suspicious.Load() {
		return now
	}
	l.suspicious.Store(now)
	log, text := l.log.Info, "the leader's log agrees with this member's log again"
	if now {
		log, text = l.log.Warn, "the leader's log contradicts this member's log: reads wait until that is certain"
		if l.logged.quiet = time.Since(l.logged.doubt) < doubtPeriod; !l.logged.quiet {
			l.logged.doubt = time.Now()
		}
	}
	if l.logged.quiet {
		log = l.log.Debug
	}
	log(text)
	return now
}

// noteRefused logs a message that the Core refuses. ErrLost and ErrDiverged end Run.
func (l *loop) noteRefused(m *raftpb.Message, err error) {
	l.log.Debug("message refused", "type", m.GetType().String(), "from", hex(m.GetFrom()), "error", err)
	switch from := m.GetFrom(); {
	case errors.Is(err, ErrLost), errors.Is(err, ErrDiverged):
		l.lost = err
	case errors.Is(err, ErrMessage) && !l.logged.refused[from] && len(l.logged.refused) < refusedMax:
		if l.logged.refused == nil {
			l.logged.refused = make(map[uint64]bool)
		}
		l.logged.refused[from] = true
		l.log.Warn("refused an impossible message; further ones of this member are logged at debug level", "from", hex(from), "error", err)
	}
}
