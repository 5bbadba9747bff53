package etcdserver

import (
	"context"
	"iter"
	"sync"
	"time"

	"etcd2/membership"
	"etcd2/store"
)

const (
	// compareTime is how long a check waits for members that come to the mark late.
	compareTime = 30 * time.Second
	// compareRetry is the pause before a member is asked again.
	compareRetry = time.Second
	// viewKept is how long after a check other members may ask which keys differ.
	viewKept = 30 * time.Second
)

// compareTrees compares this member's tree with the others' at every mark, until
// ctx ends.
func (s *Server) compareTrees(ctx context.Context) error {
	late := time.NewTimer(0)
	defer late.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-late.C:
			s.agreement.release()
		case m := <-s.agreement.marks:
			if m.copies == s.agreement.copies.Load() { // else the tree it shows is gone
				s.compare(ctx, m)
				late.Reset(viewKept)
			}
		}
	}
}

// compare does one check.
func (s *Server) compare(ctx context.Context, m mark) {
	c := &check{mark: m, own: m.view.Digest(), self: s.id, digests: map[membership.ID]*store.Digest{}}
	s.agreement.publish(m, c.own)
	patience, cancel := context.WithTimeout(ctx, compareTime)
	defer cancel()
	for found := range s.askAll(patience, m.index) {
		if found.digest == nil {
			s.agreement.note(found.member, found.why)
			s.logAbsent(found)
			continue
		}
		c.digests[found.member] = found.digest
		match := Agrees
		if *found.digest != c.own {
			match = Differs
		}
		s.agreement.note(found.member, match)
		if len(c.against()) > 0 {
			break // enough to know that this member is wrong
		}
	}
	if ctx.Err() == nil && m.copies == s.agreement.copies.Load() {
		s.conclude(ctx, c)
	}
}

// logAbsent says that a member took no part in a check, unless it was only late.
func (s *Server) logAbsent(f found) {
	if f.why == Pending {
		return
	}
	reason := string(f.why)
	if why, excluded := s.excluded()[f.member]; excluded {
		reason = "refused: " + why
	}
	s.log.Warn("a member took no part in the consistency check", "member", f.member, "reason", reason)
}

// found is the digest of another member, or why there is none.
type found struct {
	member membership.ID
	digest *store.Digest
	why    Match
}

// askAll asks all other members for their digests at a mark, again and again until
// ctx ends, and yields what each of them answers. A newer mark ends it.
func (s *Server) askAll(ctx context.Context, index uint64) iter.Seq[found] {
	return func(yield func(found) bool) {
		ctx, cancel := context.WithCancel(ctx)
		var asking sync.WaitGroup
		defer asking.Wait()
		defer cancel()
		var others []membership.ID
		for _, member := range s.Members() {
			if member.ID != s.id {
				others = append(others, member.ID)
			}
		}
		answers := make(chan found, len(others)) // capacity: every answer there will be
		for _, id := range others {
			asking.Go(func() { answers <- s.askDigest(ctx, id, index) })
		}
		for range others {
			if !yield(<-answers) {
				return
			}
		}
	}
}

// askDigest asks a member until it answers with its digest or will never have
// one, or ctx ends.
func (s *Server) askDigest(ctx context.Context, id membership.ID, index uint64) found {
	for {
		f := found{member: id}
		one, cancel := context.WithTimeout(ctx, s.cfg.requestTimeout())
		answer, err := s.peers.Ask(one, id, questionDigest, encodeDigestQuestion(index, 0))
		cancel()
		var final bool
		if err != nil {
			f.why = Unreachable
		} else if f.digest, final = decodeDigestAnswer(answer); f.digest == nil {
			f.why = Pending
		}
		if f.digest != nil || final || len(s.agreement.marks) > 0 {
			return f
		}
		if pause(ctx, compareRetry) != nil {
			return f
		}
	}
}

// check is one comparison at work.
type check struct {
	mark
	self    membership.ID
	own     store.Digest
	digests map[membership.ID]*store.Digest // of the members that have answered
}

// group lists the voters that have a digest, this member among them.
func (c *check) group(d *store.Digest) []membership.ID {
	var ids []membership.ID
	for _, v := range c.voters {
		id := membership.ID(v)
		if theirs := c.digests[id]; id == c.self && *d == c.own || theirs != nil && *theirs == *d {
			ids = append(ids, id)
		}
	}
	return ids
}

func (c *check) quorum() int { return len(c.voters)/2 + 1 }

// against lists the voters that agree on something else than this member has, if
// they are a quorum.
func (c *check) against() []membership.ID {
	for _, d := range c.digests {
		if *d == c.own {
			continue
		}
		if ids := c.group(d); len(ids) >= c.quorum() {
			return ids
		}
	}
	return nil
}

// differing is a member whose tree differs, from among those given if there are
// any; false when there is none.
func (c *check) differing(among []membership.ID) (membership.ID, bool) {
	for _, id := range among {
		return id, true
	}
	for id, d := range c.digests {
		if *d != c.own {
			return id, true
		}
	}
	return 0, false
}

// conclude does what the outcome of a check asks for.
func (s *Server) conclude(ctx context.Context, c *check) {
	a := s.agreement
	against := c.against()
	other, differs := c.differing(against)
	a.recheck.Store(differs)
	a.mu.Lock()
	a.shown.Checks++
	if differs {
		a.shown.Divergences++
	}
	a.mu.Unlock()
	if !differs {
		return
	}
	if len(against) > 0 {
		s.stopServing(nil)
	}
	paths := s.locate(ctx, c, other)
	a.mu.Lock()
	a.shown.Differing = paths
	a.mu.Unlock()
	switch {
	case len(against) > 0:
		s.stopServing(paths)
		s.log.Error("this member's data differs from the quorum's: it serves nothing until it has a new copy",
			"index", c.index, "keys", paths, "etcd-index", c.own.Index, "quorum-etcd-index", c.digests[other].Index, "quorum", against)
		s.repairTree(ctx, against)
	case len(c.group(&c.own)) >= c.quorum():
		s.log.Warn("a member's data differs from the quorum's", "member", other, "index", c.index, "keys", paths)
	default:
		s.log.Error("the data of the members differs, and no quorum of them agrees: compare the keys and replace the members that are wrong",
			"member", other, "index", c.index, "keys", paths)
	}
}
