package replica

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"etcd2/membership"
	"etcd2/store"
)

// tape feeds a replica with entries and remembers them.
type tape struct {
	t testing.TB
	*Replica
	entries []*raftpb.Entry
}

// newTape is a replica that three founding members have just made.
func newTape(t testing.TB) *tape {
	t.Helper()
	r, err := New(store.New(store.Config{}), Position{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := &tape{t: t, Replica: r}
	entries, hard, err := FoundingLog(Records([]membership.Member{founder(3), founder(1), founder(2)}))
	if err != nil || hard.GetCommit() != 3 || hard.GetTerm() != 1 {
		t.Fatalf("FoundingLog = %v, %v", hard, err)
	}
	for _, e := range entries {
		p.must(e.GetType(), e.GetData())
	}
	return p
}

func founder(id membership.ID) membership.Member {
	return membership.Member{ID: id, Name: fmt.Sprintf("n%d", id), PeerURLs: []string{fmt.Sprintf("http://10.0.0.%d:2380", id)}}
}

// feed applies the next entry, which keeps its place only when it was taken.
func (p *tape) feed(kind raftpb.EntryType, data []byte) (Effects, error) {
	e := &raftpb.Entry{Type: kind.Enum(), Index: proto.Uint64(uint64(len(p.entries) + 1)), Term: proto.Uint64(1), Data: data}
	effects, err := p.Apply(e)
	if err == nil {
		p.entries = append(p.entries, e)
	}
	return effects, err
}

func (p *tape) must(kind raftpb.EntryType, data []byte) Effects {
	p.t.Helper()
	effects, err := p.feed(kind, data)
	if err != nil {
		p.t.Fatal(err)
	}
	return effects
}

func (p *tape) write(op store.Op) Effects {
	p.t.Helper()
	return p.must(raftpb.EntryNormal, EncodeWrite(9, op))
}

func (p *tape) change(c membership.Change) Effects {
	p.t.Helper()
	cc, err := EncodeChange(9, c)
	if err != nil {
		p.t.Fatal(err)
	}
	return p.must(raftpb.EntryConfChange, marshal(p.t, cc))
}

func marshal(t testing.TB, cc *raftpb.ConfChange) []byte {
	t.Helper()
	data, err := proto.Marshal(cc)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// image is all that a replica holds but its position, in a form that can be compared.
func image(t testing.TB, r *Replica) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.Tree().Dump(&b); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&b, "%v %v %+v %q", r.Conf().GetVoters(), r.Conf().GetLearners(), r.Cluster().Members(), r.Cluster().Version())
	return b.String()
}

// reload returns a replica of the checkpoint that this one would make.
func (p *tape) reload() *Replica {
	p.t.Helper()
	delta := p.Tree().CutFull()
	l := store.NewLoader(store.Config{})
	paths := slices.SortedFunc(maps.Keys(delta.Nodes), func(a, b string) int {
		return bytes.Compare(store.AppendKey(nil, a), store.AppendKey(nil, b))
	})
	for _, path := range paths {
		if n := delta.Nodes[path]; n != nil {
			if err := l.Node(n); err != nil {
				p.t.Fatal(err)
			}
		}
	}
	for _, run := range delta.Events {
		for _, ev := range run {
			if err := l.Event(ev); err != nil {
				p.t.Fatal(err)
			}
		}
	}
	tree, err := l.Finish(delta.Index, delta.Counters, delta.Clock)
	if err != nil {
		p.t.Fatal(err)
	}
	r, err := New(tree, p.Position(), p.Conf())
	if err != nil {
		p.t.Fatal(err)
	}
	return r
}

// A change that may not be applied is refused and changes nothing, however it got
// into the log.
func TestRefusedChanges(t *testing.T) {
	add := func(id membership.ID, urls ...string) membership.Change {
		return membership.Change{Kind: membership.Add, Member: membership.Member{ID: id, PeerURLs: urls}}
	}
	remove := func(id membership.ID) membership.Change {
		return membership.Change{Kind: membership.Remove, Member: membership.Member{ID: id}}
	}
	update := func(id membership.ID, urls ...string) membership.Change {
		return membership.Change{Kind: membership.Update, Member: membership.Member{ID: id, PeerURLs: urls}}
	}
	promote := func(id membership.ID) membership.Change {
		return membership.Change{Kind: membership.Promote, Member: membership.Member{ID: id}}
	}
	tests := []struct {
		name   string
		change membership.Change
		want   error
	}{
		{"remove member 0", remove(0), membership.ErrIDNotFound},
		{"update member 0", update(0, "http://10.0.0.9:2380"), membership.ErrIDNotFound},
		{"add member 0", add(0, "http://10.0.0.9:2380"), membership.ErrIDNotFound},
		{"promote member 0", promote(0), membership.ErrIDNotFound},
		{"remove an unknown member", remove(77), membership.ErrIDNotFound},
		{"add a known member", add(2, "http://10.0.0.9:2380"), membership.ErrIDExists},
		{"add with a known URL", add(8, "http://10.0.0.1:2380"), membership.ErrPeerURLExists},
		{"add a removed member", add(3, "http://10.0.0.3:2380"), membership.ErrIDRemoved},
		{"remove a removed member", remove(3), membership.ErrIDRemoved},
		{"remove the last voter beside a learner", remove(1), ErrUnsafeChange},
	}
	for _, tt := range tests {
		p := newTape(t)
		for _, id := range []membership.ID{3, 2} {
			if tt.name == "add a known member" && id == 2 {
				continue
			}
			if got := p.change(remove(id)); got.Refused != nil || got.Conf == nil {
				t.Fatalf("remove %s: %+v", id, got)
			}
		}
		p.change(add(5, "http://10.0.0.5:2380"))
		before := image(t, p.Replica)
		got := p.change(tt.change)
		if !errors.Is(got.Refused, tt.want) || got.Conf != nil || got.Change != nil {
			t.Errorf("%s: %+v, want refused with %v", tt.name, got, tt.want)
		}
		if after := image(t, p.Replica); after != before {
			t.Errorf("%s: the refused change changed\n%s\nto\n%s", tt.name, before, after)
		}
		if tt.change.Member.ID == 0 && !errors.Is(AdmitChange(tt.change), tt.want) {
			t.Errorf("AdmitChange(%s) = %v, want %v", tt.name, AdmitChange(tt.change), tt.want)
		}
	}
}

// The last voter without learners may go; raft is not told, since it cannot be
// without a voter.
func TestLastVoterGoes(t *testing.T) {
	p := newTape(t)
	for _, id := range []membership.ID{1, 2, 3} {
		got := p.change(membership.Change{Kind: membership.Remove, Member: membership.Member{ID: id}})
		if got.Refused != nil || (got.Conf == nil) != (id == 3) || !p.Cluster().Removed(id) {
			t.Errorf("removal of %s: %+v", id, got)
		}
	}
	if got := p.Conf().GetVoters(); !slices.Equal(got, []uint64{3}) {
		t.Errorf("raft is left with the voters %v, want the last one", got)
	}
}

// A member is added as a learner and promoted; the configuration follows.
func TestGrowth(t *testing.T) {
	p := newTape(t)
	m := membership.Member{ID: 0x10, PeerURLs: []string{"http://10.0.1.1:2380"}}
	if got := p.change(membership.Change{Kind: membership.Add, Member: m}); got.Refused != nil || !got.Cluster || got.Request != 9 {
		t.Errorf("add: %+v", got)
	}
	if v, l := p.Conf().GetVoters(), p.Conf().GetLearners(); len(v) != 3 || !slices.Equal(l, []uint64{0x10}) {
		t.Errorf("after the addition voters %v and learners %v", v, l)
	}
	if got := p.change(membership.Change{Kind: membership.Promote, Member: membership.Member{ID: 0x10}}); got.Refused != nil || got.Cluster {
		t.Errorf("promote: %+v", got)
	}
	if v, l := p.Conf().GetVoters(), p.Conf().GetLearners(); !slices.Equal(v, []uint64{1, 2, 3, 0x10}) || len(l) != 0 {
		t.Errorf("after the promotion voters %v and learners %v", v, l)
	}
	if got := image(t, p.reload()); got != image(t, p.Replica) {
		t.Error("a checkpoint does not hold the whole state")
	}
}

// Writes below /0 and on the root are for the members alone.
func TestAdmitOp(t *testing.T) {
	tests := []struct {
		op    store.Op
		admit bool
	}{
		{store.Op{Action: store.Set, Path: "/1/a", Value: "v"}, true},
		{store.Op{Action: store.Delete, Path: "/1", Dir: true, Recursive: true}, true}, // the tree refuses it
		{store.Op{Action: store.Expire, Path: "/"}, true},
		{store.Op{Action: store.Expire, Path: "/1/a"}, false},
		{store.Op{Action: store.Expire}, false},
		{store.Op{Action: store.CreateInOrder, Path: "/"}, false},
		{store.Op{Action: store.Delete, Path: "/", Recursive: true, Dir: true}, false},
		{store.Op{Action: store.CreateInOrder, Path: "/0"}, false},
		{store.Op{Action: store.Set, Path: "/0/members/zz/attributes", Value: "{}"}, false},
		{store.Op{Action: store.Set, Path: "/0/members/00a/attributes", Value: "{}"}, false},
		{store.Op{Action: store.Set, Path: "/0/members/a/attributes", Value: "{}"}, true},
		{store.Op{Action: store.Set, Path: "/0/members/a/attributes", Value: "{}", HasTTL: true}, false},
		{store.Op{Action: store.Set, Path: "/0/members/a/attributes", Dir: true}, false},
		{store.Op{Action: store.Delete, Path: "/0/members/a/attributes"}, false},
		{store.Op{Action: store.Set, Path: "/0/members/a/attributes", Value: "["}, false},
		{store.Op{Action: store.Set, Path: "/0/members/a/raftAttributes", Value: "{}"}, false},
		{store.Op{Action: store.Set, Path: "/0/version", Value: "2.3.0"}, true},
		{store.Op{Action: store.Set, Path: "/0/version", Value: "two"}, false},
		{store.Op{Action: store.Set, Path: "/0/version", Value: "9.0.0"}, true}, // by a later release
		{store.Op{Action: store.Set, Path: "/0/other", Value: "x"}, false},
	}
	for _, tt := range tests {
		if err := AdmitOp(tt.op); (err == nil) != tt.admit {
			t.Errorf("AdmitOp(%s %s %q) = %v, want admitted: %v", tt.op.Action, tt.op.Path, tt.op.Value, err, tt.admit)
		}
	}
	if err := AdmitWrite(EncodeWrite(1, store.Op{Action: store.Set, Path: membership.VersionPath, Value: "9.0.0"})); err == nil {
		t.Error("this release proposes a cluster version that it does not speak")
	}
	if AdmitWrite(EncodeBarrier()) == nil || AdmitWrite(nil) == nil {
		t.Error("a barrier or nothing is admitted as a write")
	}
}

// An entry of a later release stops the member and names the release; nothing was
// changed.
func TestLaterFormats(t *testing.T) {
	header := make([]byte, entryHeader-1)
	op := EncodeWrite(1, store.Op{Action: store.Set, Path: "/1/a"})
	op[entryHeader] = 7
	tests := []struct {
		name string
		kind raftpb.EntryType
		data []byte
		want string
	}{
		{"names its release", raftpb.EntryNormal, append(append([]byte{9}, header...), "\x050.7.1rest"...), "release 0.7.1 or later"},
		{"names none", raftpb.EntryNormal, append([]byte{200}, header...), "a release later than"},
		{"names nonsense", raftpb.EntryNormal, append(append([]byte{9}, header...), "\x04abcde"...), "a release later than"},
		{"operation", raftpb.EntryNormal, op, "operation of version 7"},
		{"raft entry type", raftpb.EntryConfChangeV2, nil, "a release later than"},
		{"cluster version", raftpb.EntryNormal, EncodeWrite(1, store.Op{Action: store.Set, Path: membership.VersionPath, Value: "9.1.0"}), "cluster version: 9.1)"},
	}
	for _, tt := range tests {
		p := newTape(t)
		before := image(t, p.Replica)
		_, err := p.feed(tt.kind, tt.data)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
		if image(t, p.Replica) != before {
			t.Errorf("%s: the state changed", tt.name)
		}
	}
}

// A copy of another member's state that is ahead of the log is gone on with: entries
// that it holds are passed over, and raft follows its members.
func TestInstallCopy(t *testing.T) {
	p, late := newTape(t), newTape(t)
	p.write(store.Op{Action: store.Set, Path: "/1/a", Value: "1"})
	p.change(membership.Change{Kind: membership.Add, Member: membership.Member{ID: 8, PeerURLs: []string{"http://10.0.0.8:2380"}}})
	p.change(membership.Change{Kind: membership.Remove, Member: membership.Member{ID: 2}})
	copied := p.reload()
	if err := late.InstallCopy(copied.Tree(), copied.Position(), copied.Conf()); err != nil {
		t.Fatal(err)
	}
	raft := 0
	for _, e := range p.entries[3:] {
		effects, err := late.Apply(e)
		if err != nil {
			t.Fatal(err)
		}
		if effects.Conf != nil {
			raft++
		}
	}
	if raft != 2 || image(t, late.Replica) != image(t, p.Replica) {
		t.Errorf("raft was told %d changes, want 2; the states are equal: %v", raft, image(t, late.Replica) == image(t, p.Replica))
	}
}

func TestLeadsTo(t *testing.T) {
	from := &raftpb.ConfState{Voters: []uint64{1, 2, 3}, Learners: []uint64{4}}
	to := &raftpb.ConfState{Voters: []uint64{1, 2, 4}, Learners: []uint64{5}}
	add, vote, remove, update := raftpb.ConfChangeType_ConfChangeAddLearnerNode, raftpb.ConfChangeType_ConfChangeAddNode,
		raftpb.ConfChangeType_ConfChangeRemoveNode, raftpb.ConfChangeType_ConfChangeUpdateNode
	tests := []struct {
		kind raftpb.ConfChangeType
		id   uint64
		want bool
	}{
		{add, 5, true}, {add, 1, false}, {add, 4, false}, {add, 6, false},
		{vote, 4, true}, {vote, 6, false}, {vote, 5, false},
		{remove, 3, true}, {remove, 1, false}, {remove, 6, false},
		{update, 1, false},
	}
	for _, tt := range tests {
		cc := &raftpb.ConfChange{Type: tt.kind.Enum(), NodeId: proto.Uint64(tt.id)}
		if got := leadsTo(cc, from, to); got != tt.want {
			t.Errorf("leadsTo(%s of %d) = %t, want %t", strings.TrimPrefix(tt.kind.String(), "ConfChange"), tt.id, got, tt.want)
		}
	}
}
