package raftnode

import (
	"errors"

	"go.etcd.io/raft/v3/raftpb"
)

// suspicion is what a member makes of messages by which its data are lost, or its
// log is another one than its leader's. One message proves nothing: it may be
// forged, and the conclusion has the operator remove the member's data. The leader
// repeats what is true with every heartbeat.
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

// inDoubt reports whether this member doubts its own log, and publishes it.
func (l *loop) inDoubt() bool {
	now := l.core.Suspicious()
	if now != l.suspicious.Load() {
		l.suspicious.Store(now)
		if now {
			l.log.Warn("the leader's log contradicts this member's log: reads wait until that is certain")
		} else {
			l.log.Info("the leader's log agrees with this member's log again")
		}
	}
	return now
}

// warnedMax bounds the senders that are remembered: they may be made up.
const warnedMax = 100

// noteRefused logs a message that the Core refuses, and notes when that is the end.
func (l *loop) noteRefused(m *raftpb.Message, err error) {
	l.log.Debug("message refused", "type", m.GetType().String(), "from", hex(m.GetFrom()), "error", err)
	switch from := m.GetFrom(); {
	case errors.Is(err, ErrLost), errors.Is(err, ErrDiverged):
		l.lost = err
	case errors.Is(err, ErrMessage) && !l.warned[from] && len(l.warned) < warnedMax:
		l.warned[from] = true
		l.log.Warn("refused an impossible message; more of this member are logged at debug level", "from", hex(from), "error", err)
	}
}
