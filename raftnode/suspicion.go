package raftnode

import (
	"errors"
	"time"

	"go.etcd.io/raft/v3/raftpb"
)

// suspicion collects evidence that this member has lost data, or that its log is
// another one than its leader's. One message proves nothing: it may be forged, and
// the conclusion makes the operator remove the member's data. The leader repeats
// true evidence after every heartbeat.
type suspicion struct {
	from, term  uint64 // the leader that gives the evidence
	index       uint64 // the entry in question
	first, last int    // ticks of the evidence
	count       int    // 0 for no suspicion
}

// evidenceCount is how often, at least, a leader has to repeat evidence, and within
// how many election timeouts it counts: after one the member concludes, after two
// without more it forgets.
const (
	evidenceCount   = 3
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

// logged is what the loop has logged of messages that it does not want to log
// again.
type logged struct {
	doubt   time.Time       // the last doubt that was; zero for none
	quiet   bool            // the present doubt was not
	refused map[uint64]bool // senders of impossible messages; at most refusedMax
}

// doubtPeriod bounds how often forged evidence shows in the log, and refusedMax the
// senders that are remembered, which may be made up.
const (
	doubtPeriod = time.Minute
	refusedMax  = 100
)

// inDoubt reports whether this member doubts its own log, and publishes it.
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

// noteRefused logs a message that the Core refuses, and notes when that is the end.
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
		l.log.Warn("refused an impossible message; more of this member are logged at debug level", "from", hex(from), "error", err)
	}
}
