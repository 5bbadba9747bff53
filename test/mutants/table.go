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
	walTests   = []string{"./wal"}
	proxyTests = []string{"./proxy"}
	raftTests  = []string{"./raftnode", "-run", "Merge|Candidate"}
	slowTests  = []string{"./raftnode", "-run", "SlowApplier", "-timeout", "30s"} // hangs
	storeTests = []string{"./store"}
	snapTests  = []string{"./snap"}
	server     = []string{"./etcdserver", "-run", "Lost|Refused|Forward"}
	members    = []string{"./membership"}
	machine    = []string{"./etcdserver/replica"}
	identities = []string{"./identity"}
	memberAPI  = []string{"./api/v2", "-run", "Member"}
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
	{
		name: "a new leader starts from its wall clock",
		file: "etcdserver/replica/clock.go",
		old:  "	if base == 0 {\n",
		new:  "	if base < wall {\n",
		test: simulation,
	},
	{
		name: "a new leader continues from the heartbeats of an earlier leader",
		file: "etcdserver/replica/clock.go",
		old:  "		if heard.Term == last.Term {\n",
		new:  "		if heard.Term > 0 {\n",
		test: simulation,
	},
	{
		name: "a deposed leader's heartbeat counts as the leader's",
		file: "etcdserver/replica/clock.go",
		old:  "	r := Reading{term, int64(",
		new:  "	r := Reading{max(term, c.newest.Term), int64(",
		test: machine,
	},
	{
		name: "a new leader does not look at entries that are not applied",
		file: "etcdserver/replica/clock.go",
		old:  "		if e.GetIndex() <= applied {\n",
		new:  "		if e.GetIndex() > 0 {\n",
		test: simulation,
	},
	{
		name: "expiry is proposed before the first entry of the term is applied",
		file: "etcdserver/replica/clock.go",
		old:  "c.leads && applied == c.term\n}",
		new:  "c.leads\n}",
		test: simulation,
	},
	{
		name: "a clock runs on without a leader",
		file: "etcdserver/replica/clock.go",
		old:  "	if !c.runs {\n",
		new:  "	if !c.runs && c.since == 0 {\n",
		test: machine,
	},
	{
		name: "a change of member 0 stops the member that applies it",
		file: "etcdserver/replica/change.go",
		old:  "		return nil, ctx, membership.ErrIDNotFound\n",
		new:  "		panic(\"no member\")\n",
		test: machine,
	},
	{
		name: "an entry of a later release is ignored",
		file: "etcdserver/replica/entry.go",
		old:  "	case e.kind > kindNewest:\n",
		new:  "	case e.kind > kindNewest && len(body) < 0:\n",
		test: machine,
	},
	{
		name: "clients may write where membership lives",
		file: "etcdserver/replica/admit.go",
		old:  "!strings.HasPrefix(op.Path+\"/\", clusterRoot) {",
		new:  "!strings.HasPrefix(op.Path, membership.VersionPath) {",
		test: machine,
	},
	{
		name: "the last voter goes while others learn",
		file: "etcdserver/replica/change.go",
		old:  "lastVoter(r.conf, c.Member.ID) && len(r.conf.GetLearners()) > 0 {",
		new:  "lastVoter(r.conf, c.Member.ID) && len(r.conf.GetLearners()) > 9 {",
		test: machine,
	},
	{
		name: "a member that came back without its data votes",
		file: "identity/identity.go",
		old:  "	case who.Incarnation != s.Incarnation:\n",
		new:  "	case who.Incarnation == \"-\":\n",
		test: simulation,
	},
	{
		name: "a member on an older copy of its directory is accepted",
		file: "identity/identity.go",
		old:  "	case who.Start < s.Start:\n",
		new:  "	case who.Start == 0:\n",
		test: identities,
	},
	{
		name: "a forced cluster keeps the generation of the old one",
		file: "localstate/localstate.go",
		old:  "func NewGeneration() string { return random(16) }",
		new:  "func NewGeneration() string { return \"\" }",
		test: simulation,
	},
	{
		name: "a file that was cut short is taken for a torn write",
		file: "wal/group.go",
		old:  "if s.reserved || int64(len(s.b)) != s.room {",
		new:  "if s.room < 0 {",
		test: walTests,
	},
	{
		name: "a file that ends right behind a group is believed",
		file: "wal/open.go",
		old:  "e.head.reserved && e.size == e.at.off",
		new:  "e.head.reserved && e.size < e.at.off",
		test: walTests,
	},
	{
		name: "the reserved size is not synced",
		file: "wal/room.go",
		old:  "if err := l.file.Sync(); err != nil {",
		new:  "if err := error(nil); err != nil {",
		test: walTests,
	},
	{
		name: "a torn group is erased from its front",
		file: "wal/mend.go",
		old:  "{{body, to}, {from, body}}",
		new:  "{{from, body}, {body, to}}",
		test: walTests,
	},
	{
		name: "a group goes to a segment without reserved room",
		file: "wal/wal.go",
		old:  "if full || !l.head.reserved {",
		new:  "if full {",
		test: walTests,
	},
	{
		name: "no byte is kept behind the last group",
		file: "wal/room.go",
		old:  "spareBytes = 1 ",
		new:  "spareBytes = 0 ",
		test: walTests,
	},
	{
		name: "the size of a file is not written again",
		file: "wal/mend.go",
		old:  "if e.size > max(e.at.off, at+int64(len(b))) {",
		new:  "if e.size < 0 {",
		test: walTests,
	},
	{
		name: "an old segment cannot be used on a full disk",
		file: "wal/wal.go",
		old:  "if err != nil && (full || !errors.Is(err, ErrFull)) {",
		new:  "if err != nil {",
		test: walTests,
	},
	{
		name: "a content type with parameters is refused",
		file: "api/v2/members.go",
		old:  "return err == nil && media == \"application/json\"",
		new:  "return err == nil && contentType == media",
		test: memberAPI,
	},
	{
		name: "member 0 is passed on",
		file: "api/v2/members.go",
		old:  "return id, err == nil && id != 0",
		new:  "return id, err == nil",
		test: memberAPI,
	},
	{
		name: "a proxy lets net/http answer for it",
		file: "proxy/proxy.go",
		old:  "if !a.begun {",
		new:  "if false {",
		test: proxyTests,
	},
	{
		name: "a proxy drops the request of a half-closed client",
		file: "proxy/leaving.go",
		old:  "context.WithCancelCause(context.WithoutCancel(r.Context()))",
		new:  "context.WithCancelCause(r.Context())",
		test: proxyTests,
	},
	{
		name: "a write is repeated after silence",
		file: "proxy/liveness.go",
		old:  "if !o.repeatable() && (isTimeout(err)",
		new:  "if false && (isTimeout(err)",
		test: proxyTests,
	},
	{
		name: "a write does not wait for its member",
		file: "proxy/liveness.go",
		old:  "patience = p.cfg.SilentWriteTimeout",
		new:  "patience = 0",
		test: proxyTests,
	},
	{
		name: "a waiting request triggers no probe",
		file: "proxy/endpoint.go",
		old:  "if e.doubted {",
		new:  "if false {",
		test: proxyTests,
	},
	{
		name: "a listing cut by the read time-out ends in order",
		file: "proxy/answer.go",
		old:  "case isTimeout(err) && watches(r):",
		new:  "case isTimeout(err):",
		test: proxyTests,
	},
	{
		name: "a proxy forgets the peer TLS files at client URLs",
		file: "cmd/etcd/listen.go",
		old:  "return tlsconf.ClientOf(client, peer) }",
		new:  "return client.Client() }",
		test: []string{"./cmd/etcd", "-run", "TestProxyWithTwoCAs"},
	},
}
