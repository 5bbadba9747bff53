package store

import "sync/atomic"

// Stats are the counters of /v2/stats/store, in the order of its members.
type Stats struct {
	GetsSuccess             uint64 `json:"getsSuccess"`
	GetsFail                uint64 `json:"getsFail"`
	SetsSuccess             uint64 `json:"setsSuccess"`
	SetsFail                uint64 `json:"setsFail"`
	DeleteSuccess           uint64 `json:"deleteSuccess"`
	DeleteFail              uint64 `json:"deleteFail"`
	UpdateSuccess           uint64 `json:"updateSuccess"`
	UpdateFail              uint64 `json:"updateFail"`
	CreateSuccess           uint64 `json:"createSuccess"`
	CreateFail              uint64 `json:"createFail"`
	CompareAndSwapSuccess   uint64 `json:"compareAndSwapSuccess"`
	CompareAndSwapFail      uint64 `json:"compareAndSwapFail"`
	CompareAndDeleteSuccess uint64 `json:"compareAndDeleteSuccess"`
	CompareAndDeleteFail    uint64 `json:"compareAndDeleteFail"`
	ExpireCount             uint64 `json:"expireCount"`
	Watchers                uint64 `json:"watchers"` // registered at this moment
}

// Stats reports the counters. Writes and expiries are counted where they are
// applied, gets where they are answered; every refusal counts as a failure.
func (s *Store) Stats() Stats {
	st := s.counts.stats()
	st.Watchers = uint64(s.hub.registered.Load())
	return st
}

// counters are the Stats that grow.
type counters struct {
	gets, sets, deletes, updates, creates, swaps, comparedDeletes tally
	expired                                                       atomic.Uint64
}

type tally struct{ success, fail atomic.Uint64 }

func (t *tally) count(failed bool) {
	if failed {
		t.fail.Add(1)
	} else {
		t.success.Add(1)
	}
}

// of is the tally that ops of an action go to.
func (c *counters) of(a Action) *tally {
	switch a {
	case Set:
		return &c.sets
	case Create, CreateInOrder:
		return &c.creates
	case Update:
		return &c.updates
	case CompareAndSwap:
		return &c.swaps
	case Delete:
		return &c.deletes
	default:
		return &c.comparedDeletes
	}
}

// fields lists the counters in the order of Stats.
func (c *counters) fields() [15]*atomic.Uint64 {
	return [15]*atomic.Uint64{
		&c.gets.success, &c.gets.fail,
		&c.sets.success, &c.sets.fail,
		&c.deletes.success, &c.deletes.fail,
		&c.updates.success, &c.updates.fail,
		&c.creates.success, &c.creates.fail,
		&c.swaps.success, &c.swaps.fail,
		&c.comparedDeletes.success, &c.comparedDeletes.fail,
		&c.expired,
	}
}

// fields lists what counters.fields lists.
func (s *Stats) fields() [15]*uint64 {
	return [15]*uint64{
		&s.GetsSuccess, &s.GetsFail,
		&s.SetsSuccess, &s.SetsFail,
		&s.DeleteSuccess, &s.DeleteFail,
		&s.UpdateSuccess, &s.UpdateFail,
		&s.CreateSuccess, &s.CreateFail,
		&s.CompareAndSwapSuccess, &s.CompareAndSwapFail,
		&s.CompareAndDeleteSuccess, &s.CompareAndDeleteFail,
		&s.ExpireCount,
	}
}

func (c *counters) stats() Stats {
	var st Stats
	to := st.fields()
	for i, from := range c.fields() {
		*to[i] = from.Load()
	}
	return st
}

func (c *counters) restore(st Stats) {
	from := st.fields()
	for i, to := range c.fields() {
		to.Store(*from[i])
	}
}
