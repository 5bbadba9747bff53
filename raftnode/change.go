package raftnode

import (
	"fmt"
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/confchange"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
)

// ProposeConfChange adds a configuration change to the log. Errors are
// ErrNotLeader, ErrBusy and ErrChangePending.
func (c *Core) ProposeConfChange(cc raftpb.ConfChangeI) error {
	if c.role != raft.StateLeader {
		return ErrNotLeader
	}
	if c.lastChange > c.applied {
		return ErrChangePending // raft would put an empty entry into the log, for each attempt
	}
	kind, data, err := raftpb.MarshalConfChange(cc)
	if err != nil {
		return fmt.Errorf("raftnode: encode configuration change: %w", err)
	}
	m := &raftpb.Message{
		Type:    raftpb.MsgProp.Enum(),
		From:    new(c.cfg.ID),
		Entries: []*raftpb.Entry{{Type: kind.Enum(), Data: data}},
	}
	if err := c.rn.Step(m); err != nil {
		return ErrBusy
	}
	if m.Entries[0].GetType() != kind { // raft put an empty entry in its place
		return ErrChangePending
	}
	c.uncommitted += uint64(len(data))
	return nil
}

// ApplyConfChange puts a committed configuration change into effect and returns
// the configuration that results. A change the state machine refuses is not
// passed here.
func (c *Core) ApplyConfChange(cc raftpb.ConfChangeI) *raftpb.ConfState {
	if c.installing {
		// Raft has the snapshot's configuration already, in which this change, from
		// before the snapshot, is contained.
		c.setConf(changed(c.conf, cc))
	} else {
		c.setConf(c.rn.ApplyConfChange(cc))
	}
	c.changed = true
	return c.conf
}

func (c *Core) setConf(conf *raftpb.ConfState) {
	c.conf = conf
	c.sole = slices.Equal(conf.GetVoters(), []uint64{c.cfg.ID}) && len(conf.GetVotersOutgoing()) == 0
	c.alone = c.sole && len(conf.GetLearners()) == 0
}

// changed is the configuration that a committed change makes of conf, without
// raft's help. A change that does not fit is a broken promise, as in raft.
func changed(conf *raftpb.ConfState, cc raftpb.ConfChangeI) *raftpb.ConfState {
	ch := confchange.Changer{Tracker: tracker.MakeProgressTracker(1, 0)}
	step := func(cfg tracker.Config, members tracker.ProgressMap, err error) {
		if err != nil {
			panic(fmt.Sprintf("raftnode: change %v does not fit the configuration %v: %v", cc, conf, err))
		}
		ch.Tracker.Config, ch.Tracker.Progress = cfg, members
	}
	step(confchange.Restore(ch, conf))
	v2 := cc.AsV2()
	if v2.LeaveJoint() {
		step(ch.LeaveJoint())
	} else if autoLeave, joint := v2.EnterJoint(); joint {
		step(ch.EnterJoint(autoLeave, v2.GetChanges()...))
	} else {
		step(ch.Simple(v2.GetChanges()...))
	}
	return ch.Tracker.ConfState()
}
