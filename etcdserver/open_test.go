package etcdserver

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"go.etcd.io/raft/v3/raftpb"

	"etcd2/etcdserver/replica"
	"etcd2/internal/sim"
	"etcd2/snap"
	"etcd2/wal"
)

// Log and checkpoint that do not belong together are refused: what lies between
// them was acknowledged to somebody.
func TestAgree(t *testing.T) {
	entries := make([]*raftpb.Entry, 10)
	tests := []struct {
		name string
		log  wal.State
		meta snap.Meta
		want string // part of the refusal; "" for none
	}{
		{"log alone", wal.State{Entries: entries}, snap.Meta{}, ""},
		{"checkpoint inside the log", wal.State{Entries: entries}, snap.Meta{Index: 5, MemberID: 1, ClusterID: 2}, ""},
		{"checkpoint where the log begins", wal.State{PrevIndex: 5, Entries: entries}, snap.Meta{Index: 5, MemberID: 1, ClusterID: 2}, ""},
		{"checkpoint where the log ends", wal.State{Entries: entries}, snap.Meta{Index: 10, MemberID: 1, ClusterID: 2}, ""},
		{"checkpoint lost", wal.State{PrevIndex: 5, Entries: entries}, snap.Meta{}, "the log in /d/wal begins after entry 5"},
		{"checkpoint too old", wal.State{PrevIndex: 5, Entries: entries}, snap.Meta{Index: 4, MemberID: 1, ClusterID: 2}, "ends at entry 4"},
		{"log lost", wal.State{}, snap.Meta{Index: 4, MemberID: 1, ClusterID: 2}, "ends at entry 0, before the checkpoint"},
		{"installed ahead of the log", wal.State{Entries: entries}, snap.Meta{Index: 20, Term: 3, Installed: 20, MemberID: 1, ClusterID: 2}, ""},
		{"installed over another term", wal.State{Entries: entries}, snap.Meta{Index: 5, Term: 3, Installed: 5, MemberID: 1, ClusterID: 2}, ""},
		{"installed, and lost", wal.State{PrevIndex: 25, Entries: entries}, snap.Meta{Index: 20, Term: 3, Installed: 20, MemberID: 1, ClusterID: 2}, "begins after entry 25"},
		{"other member", wal.State{Entries: entries}, snap.Meta{Index: 5, MemberID: 3, ClusterID: 2}, "is of member 3 in cluster 2"},
		{"other term", wal.State{PrevIndex: 2, PrevTerm: 1, Entries: entries}, snap.Meta{Index: 5, Term: 2, MemberID: 1, ClusterID: 2}, "entry 5 is of term 0 in the log"},
		{"other term where the log begins", wal.State{PrevIndex: 5, PrevTerm: 1, Entries: entries}, snap.Meta{Index: 5, Term: 2, MemberID: 1, ClusterID: 2}, "entry 5 is of term 1 in the log"},
		{"other cluster", wal.State{Entries: entries}, snap.Meta{Index: 5, MemberID: 1, ClusterID: 3}, "of member 1 in cluster 2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &Server{cfg: Config{Dir: "/d", WALDir: "/d/wal"}, id: 1, clusterID: 2}
			err := s.checkFit(tt.log, tt.meta)
			if tt.want == "" {
				if err != nil {
					t.Errorf("agree = %v, want nil", err)
				}
				return
			}
			if !errors.Is(err, ErrDataDir) || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "restore") {
				t.Errorf("agree = %v, want ErrDataDir with %q and what to do", err, tt.want)
			}
		})
	}
}

// A crash while the first entries are written leaves nothing that the next start
// would trip over.
func TestCrashDuringBootstrap(t *testing.T) {
	for after := range 25 {
		synctest.Test(t, func(t *testing.T) {
			b := newBed(t)
			b.log = sim.NewDisk(rand.New(rand.NewPCG(uint64(after), 1)))
			b.log.StopAfter(after)
			s, err := b.open()
			if err == nil {
				s.close()
			}
			b.log.Crash()
			r := b.start()
			defer r.end()
			// One more where the crash came after the member had published itself.
			if got := r.set("foo", "bar", 0).Index; got != 4 && got != 5 {
				t.Errorf("crash after %d calls: the first key has index %d, want 4 or 5", after, got)
			}
		})
	}
}

// A member that died before its first entry begins again as what it was, even
// when it is no longer told who founds the cluster.
func TestBootstrapNeedsNoFlagsTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		md := metadata{Version: metadataVersion, Member: 7, Cluster: 8, Founders: []replica.MemberRecord{{ID: 7, Name: "n1", PeerURLs: []string{"http://127.0.0.1:2380"}}}}
		encoded, err := json.Marshal(md)
		if err != nil {
			t.Fatal(err)
		}
		log, err := wal.Create(wal.Config{Dir: filepath.Join(b.dir, "member", "wal"), FS: b.log}, encoded)
		if err != nil {
			t.Fatal(err)
		}
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
		b.tune = func(c *Config) { c.Founders, c.Self, c.ClusterID = nil, 0, 0 }
		r := b.start()
		defer r.end()
		if got := r.set("foo", "bar", 0).Index; got != 4 {
			t.Errorf("the first key has index %d, want 4", got)
		}
		if r.ID() != 7 || r.ClusterID() != 8 || len(r.Members()) != 1 {
			t.Errorf("member %s in cluster %s with %v, want 7 in 8 with itself", r.ID(), r.ClusterID(), r.Members())
		}
	})
}

// Of two processes that start on a directory at a time one goes on, and the other
// says why it does not.
func TestTwoAtATime(t *testing.T) {
	b := newBed(t)
	b.tune = func(c *Config) { c.FS, c.Checkpoints = nil, nil } // locks of the system
	founded, err := b.open()
	if err != nil {
		t.Fatal(err)
	}
	founded.abandon()
	for range 50 {
		var servers [2]*Server
		var errs [2]error
		var opening sync.WaitGroup
		for i := range servers {
			opening.Go(func() { servers[i], errs[i] = b.open() })
		}
		opening.Wait()
		opened := 0
		for i, s := range servers {
			if s != nil {
				opened++
				s.abandon()
			} else if !strings.Contains(errs[i].Error(), "in use by another process") {
				t.Errorf("Open beside another = %v", errs[i])
			}
		}
		if opened == 0 {
			t.Fatalf("both failed: %v, %v", errs[0], errs[1])
		}
	}
}

func TestDataDirectoryThatCannotBeWritten(t *testing.T) {
	b := newBed(t)
	file := filepath.Join(b.dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b.dir = filepath.Join(file, "data")
	if _, err := b.open(); err == nil || !strings.Contains(err.Error(), "cannot access data directory") {
		t.Errorf("Open = %v, want cannot access data directory", err)
	}
}

func TestIdentityOfAnotherVersion(t *testing.T) {
	for _, metadata := range []string{"other", `{"version":2}`} {
		if _, err := decodeMetadata([]byte(metadata)); err == nil {
			t.Errorf("decodeMetadata(%s) = nil error", metadata)
		}
	}
	if _, err := decodeMetadata([]byte(`{"founders":{"n":{}},"version":2}`)); err == nil || !strings.Contains(err.Error(), "metadata of version 2, this program knows 1") {
		t.Errorf("metadata of the next version = %v, want a word about versions", err)
	}
	if _, err := decodeMetadata([]byte(`{"version":1,"founders":{}}`)); err == nil || !strings.Contains(err.Error(), "not that of a member") {
		t.Errorf("metadata with a wrong type = %v, want a refusal", err)
	}
}

// A directory that has data but no log is not founded anew: the log was there
// first, so it is lost or somewhere else.
func TestFoundingOverDataIsRefused(t *testing.T) {
	for name, want := range map[string]string{
		"checkpoint.db":                          "start with the --wal-dir it was made with",
		"db":                                     "data of another etcd",
		"0000000000000002-0000000000002711.snap": "data of another etcd",
	} {
		b := newBed(t)
		file := filepath.Join(b.dir, "member", "snap", name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("data"), 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := b.open(); !errors.Is(err, ErrDataDir) || !strings.Contains(err.Error(), want) {
			t.Errorf("Open beside %s = %v, %v; want a refusal with %q", name, s, err, want)
		}
		if files := b.log.Files(); len(files) != 0 {
			t.Errorf("a refused Open beside %s made %d files of a log", name, len(files))
		}
	}
}

// A member that is stopped before it has applied its first entry applies it at
// the next start; until then no checkpoint holds it.
func TestStopDuringBootstrap(t *testing.T) {
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			b := newBed(t)
			b.tune = func(c *Config) { c.CheckpointEntries = 1 }
			s, err := b.open()
			if err != nil {
				t.Fatal(err)
			}
			stopped, stop := context.WithCancel(t.Context())
			stop()
			if err := s.Run(stopped); err != nil {
				t.Fatalf("Run = %v", err)
			}
			r := b.start()
			defer r.end()
			// One more where the stop was noticed after the member had published itself.
			if got := r.set("foo", "bar", 0).Index; got != 4 && got != 5 {
				t.Errorf("the first key has index %d, want 4 or 5", got)
			}
		})
	}
}
