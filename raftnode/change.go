package raftnode

import (
	"fmt"

	"go.etcd.io/raft/v3/confchange"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
)

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
