package main

// raftMutants are mistakes in raft and what is around it.
var raftMutants = []mutant{
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
		name: "contradicted entries below the commit index are acknowledged",
		file: "raftnode/verify.go",
		old:  "\t\tcase x != nil:\n\t\t\treturn c.suspectDivergence(m, *x)\n",
		new:  "\t\tcase x != nil && m == nil:\n",
		test: []string{"./raftnode", "-run", "ReplacedHistory|BelowTheCommit"},
	},
	{
		name: "committed entries count as durable before they are saved",
		file: "raftnode/verify.go",
		old:  "same < commit:",
		new:  "m == nil:",
		test: []string{"./raftnode", "-run", "CommittedButNotDurable"},
	},
	{
		name: "entries that this member has confirmed and lost are not missed",
		file: "raftnode/verify.go",
		old:  "if m.GetCommit() > g.low {",
		new:  "if m.GetCommit() > maxIndex {",
		test: []string{"./raftnode", "-run", "ShorterLog"},
	},
	{
		name: "a probe of lost entries repeats without end",
		file: "raftnode/guard.go",
		old:  "\tif r == g.rejected {\n",
		new:  "\tif m == nil {\n",
		test: []string{"./raftnode", "-run", "LostEntries"},
	},
	{
		name: "a follower may confirm what its leader does not have",
		file: "raftnode/step.go",
		old:  "!m.GetReject() && m.GetIndex() > c.sent(st)",
		new:  "m == nil",
		test: []string{"./raftnode", "-run", "StateExcludes"},
	},
	{
		name: "one frame uses up the terms",
		file: "raftnode/step.go",
		old:  "m.GetTerm() > c.guard.ceiling",
		new:  "m.GetTerm() > maxTerm",
		test: []string{"./raftnode", "-run", "ForgedTerm"},
	},
	{
		name: "a rejection behind the base of a log is taken as it is",
		file: "raftnode/step.go",
		old:  "return c.rn.Step(c.compared(m))",
		new:  "return c.rn.Step(m)",
		test: []string{"./raftnode", "-run", "BehindItsProbe"},
	},
	{
		name: "one forged heartbeat ends a member",
		file: "raftnode/suspicion.go",
		old:  " && now-s.first >= election",
		new:  "",
		test: []string{"./raftnode", "-run", "ForgedEvidence|^TestSuspicion$"},
	},
	{
		name: "entries replaced within a term pass for saved ones",
		file: "raftnode/core.go",
		old:  "if c.guard.stepped {",
		new:  "if c.guard.stepped && c == nil {",
		test: []string{"./raftnode", "-run", "ReplacedWithinATerm"},
	},
}
