package main

// mutant is a bug planted in one place.
type mutant struct {
	name string   // what the program does wrong
	file string   // in the module
	old  string   // stands there exactly once
	new  string   // takes its place
	test []string // arguments of go test; it has to fail
}

// Tests that look for mutants.
var (
	simulation = []string{"./internal/sim", "-run", "^TestSim$"}
	logTests   = []string{"./wal", "-run", "Flipped|Vote"}
	raftTests  = []string{"./raftnode", "-run", "Merge|Candidate"}
	slowTests  = []string{"./raftnode", "-run", "SlowApplier", "-timeout", "30s"} // hangs
	storeTests = []string{"./store"}
	snapTests  = []string{"./snap"}
	server     = []string{"./etcdserver", "-run", "Lost|Refused|Forward"}
	members    = []string{"./membership"}
)

// mutants are the mistakes that the tests are known to find. docs/testing.md
// lists them.
var mutants = []mutant{
	{
		name: "a member answers for its log before the sync",
		file: "raftnode/core.go",
		old:  "			w.Append = c.appendWork(m)\n",
		new: `			w.Append = c.appendWork(m)
			for _, r := range m.GetResponses() {
				if r.GetTo() != c.cfg.ID {
					w.Send = append(w.Send, r)
				}
			}
`,
		test: simulation,
	},
	{
		name: "votes are asked for before one's own is saved",
		file: "raftnode/core.go",
		old:  "case m.GetType() == raftpb.MsgVote:",
		new:  "case m.GetType() == raftpb.MsgVote && c == nil:",
		test: raftTests,
	},
	{
		name: "the log is not synced",
		file: "wal/wal.go",
		old:  "if err := l.file.Sync(); err != nil {",
		new:  "if err := error(nil); err != nil {",
		test: simulation,
	},
	{
		name: "a vote is forgotten",
		file: "wal/wal.go",
		old:  "	if l.hard != l.durable {\n		l.payload = appendHardState(l.payload, l.hard)\n",
		new:  "	if l.hard != l.durable {\n		l.payload = appendHardState(l.payload, hardState{term: l.hard.term, commit: l.hard.commit})\n",
		test: simulation,
	},
	{
		name: "a vote alone is not written",
		file: "wal/wal.go",
		old:  "if len(entries) == 0 && l.hard.term == l.durable.term && l.hard.vote == l.durable.vote {",
		new:  "if len(entries) == 0 && l.hard.term == l.durable.term {",
		test: logTests,
	},
	{
		name: "the checksum of a group is not looked at",
		file: "wal/group.go",
		old:  "sum == binary.LittleEndian.Uint32(g[16:]) {",
		new:  "sum|1 != 0 {",
		test: logTests,
	},
	{
		name: "damage is taken for a torn tail",
		file: "wal/group.go",
		old:  "	if !torn(rest, size, s.at.off) {\n",
		new:  "	if torn(rest, size, s.at.off) && size < 0 {\n",
		test: logTests,
	},
	{
		name: "entries that a new leader replaces stay in the batch",
		file: "raftnode/writer.go",
		old:  "	keep := min(next-first, uint64(len(a)))\n",
		new:  "	keep := uint64(len(a))\n",
		test: raftTests,
	},
	{
		name: "a failed write is acknowledged",
		file: "raftnode/writer.go",
		old:  "	if err := w.write(hard, entries); err != nil {\n		return nil, err\n	}\n	w.mem.append(entries)\n	return responses, nil\n",
		new:  "	_ = w.write(hard, entries)\n	w.mem.append(entries)\n	return responses, nil\n",
		test: simulation,
	},
	{
		name: "a log goes on behind a snapshot with another term",
		file: "raftnode/storage.go",
		old:  "	s.prevIndex, s.prevTerm = m.GetIndex(), m.GetTerm()\n",
		new:  "	s.prevIndex, s.prevTerm = m.GetIndex(), m.GetTerm()-1\n",
		test: simulation,
	},
	{
		name: "a log that does not reach an installed snapshot is used",
		file: "raftnode/core.go",
		old:  "	if restart {\n",
		new:  "	if restart && st.Applied == 0 {\n",
		test: simulation,
	},
	{
		name: "a new member is sent a snapshot from before its addition",
		file: "raftnode/core.go",
		old:  "		if c.changed {\n",
		new:  "		if c.changed && c.applied == 0 {\n",
		test: simulation,
	},
	{
		name: "a checkpoint that was damaged on its way is installed",
		file: "snap/receive.go",
		old:  "	if err == nil && !bytes.Equal(last, trailer(sum.n, sum.sum)) {\n",
		new:  "	if err == nil && bytes.Equal(last, nil) {\n",
		test: snapTests,
	},
	{
		name: "reads trust a lease instead of a quorum",
		file: "raftnode/core.go",
		old:  "raft.ReadOnlySafe,",
		new:  "raft.ReadOnlyLeaseBased,",
		test: simulation,
	},
	{
		name: "a read does not wait for what was committed",
		file: "raftnode/reads.go",
		old:  "		r.answered, r.index = round, index\n",
		new:  "		r.answered, r.index = round, min(index, 1)\n",
		test: simulation,
	},
	{
		name: "a leader answers reads before it has committed in its term",
		file: "raftnode/reads.go",
		old:  "func (c *Core) settled() bool { return c.committedTerm == c.term }",
		new:  "func (c *Core) settled() bool { return true }",
		test: simulation,
	},
	{
		name: "a start applies again what the checkpoint contains",
		file: "raftnode/core.go",
		old:  "		Applied:                   st.Applied,\n",
		new:  "		Applied:                   0,\n",
		test: simulation,
	},
	{
		name: "an entry of a batch is not applied",
		file: "raftnode/core.go",
		old:  "			w.Apply = &Committed{Entries: m.GetEntries(), responses",
		new:  "			w.Apply = &Committed{Entries: m.GetEntries()[len(m.GetEntries())/2:], responses",
		test: simulation,
	},
	{
		name: "an entry is skipped where batches join",
		file: "raftnode/node.go",
		old:  "		b.Entries = append(b.Entries, c.Entries...)\n",
		new:  "		b.Entries = append(b.Entries, c.Entries[1:]...)\n",
		test: slowTests,
	},
	{
		name: "a change of members counts before it is committed",
		file: "raftnode/change.go",
		old:  "		return ErrChangePending\n	}\n	c.uncommitted += uint64(len(data))\n",
		new:  "		return ErrChangePending\n	}\n	c.setConf(c.rn.ApplyConfChange(cc))\n	c.uncommitted += uint64(len(data))\n",
		test: simulation,
	},
	{
		name: "a learner counts as a voter",
		file: "raftnode/change.go",
		old:  "		c.setConf(c.rn.ApplyConfChange(cc))\n",
		new: `		v1, _ := cc.AsV1()
		if v1.GetType() == raftpb.ConfChangeType_ConfChangeAddLearnerNode {
			v1 = &raftpb.ConfChange{Type: raftpb.ConfChangeType_ConfChangeAddNode.Enum(), NodeId: v1.NodeId}
		}
		c.setConf(c.rn.ApplyConfChange(v1))
`,
		test: simulation,
	},
	{
		name: "a change from before a snapshot is made in the snapshot's configuration",
		file: "raftnode/change.go",
		old:  "	if c.installing {\n",
		new:  "	if c.installing && c.taken == 0 {\n",
		test: simulation,
	},
	{
		name: "a removed member may come back under its ID",
		file: "membership/cluster.go",
		old:  "	if c.removed[id] {\n",
		new:  "	if c.removed[id] && change.Kind != Add {\n",
		test: members,
	},
	{
		name: "writes that were taken are sent back as refused",
		file: "etcdserver/forward.go",
		old:  "	return s.node.ProposeAsLeader(ctx, writes)\n",
		new:  "	if err := s.node.ProposeAsLeader(ctx, writes); err != nil {\n		return err\n	}\n	return context.DeadlineExceeded\n",
		test: server,
	},
	{
		name: "the history forgets one event too many",
		file: "store/history.go",
		old:  "h.next-h.first > uint64(h.maxEvents)",
		new:  "h.next-h.first >= uint64(h.maxEvents)",
		test: simulation,
	},
	{
		name: "a watch that reads the history leaves an event out",
		file: "store/watch.go",
		old:  "		w.since = ev.Index() + 1\n",
		new:  "		w.since = ev.Index() + 2\n",
		test: simulation,
	},
	{
		name: "a watch that begins at the newest event misses it",
		file: "store/watch.go",
		old:  "o.Since <= w.index\n",
		new:  "o.Since < w.index\n",
		test: simulation,
	},
	{
		name: "a watch from a future index gets earlier events",
		file: "store/hub.go",
		old:  "		if d.event.Index() >= w.since {\n",
		new:  "		if d.event.Index() > 0 {\n",
		test: simulation,
	},
	{
		name: "a watch misses an event where a snapshot is installed",
		file: "store/replace.go",
		old:  "		h.replay(seen)\n",
		new:  "		h.replay(seen + 1)\n",
		test: simulation,
	},
	{
		name: "a key without a deadline expires with the others",
		file: "store/commit.go",
		old:  "	if n.Expires != 0 {\n		s.deadlines.put(n)\n	}\n	s.index",
		new:  "	s.deadlines.put(n)\n	s.index",
		test: storeTests,
	},
}
