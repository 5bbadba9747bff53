package v2

import (
	"github.com/prometheus/client_golang/prometheus"

	"etcd2/etcdserver"
	"etcd2/internal/openfiles"
	"etcd2/store"
)

// gauges reads the state of a member at the moment of a scrape, so that nothing
// has to be counted twice while the member works.
type gauges struct {
	server Server
	all    []gauge
	writes *prometheus.Desc
	age    *prometheus.Desc
}

// gauge is one figure of the state.
type gauge struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(*figures) float64
}

// figures is the state at one moment.
type figures struct {
	etcdserver.Status
	store.Stats
}

func newGauges(server Server) *gauges {
	g := &gauges{
		server: server,
		writes: prometheus.NewDesc("etcd_store_writes_total",
			"Writes applied to the tree since its beginning, refused ones included.", []string{"action"}, nil),
		age: prometheus.NewDesc("etcd_server_age_seconds",
			"How far the tree of this member may lie behind the cluster; missing before it has heard from a leader.", nil, nil),
	}
	add := func(kind prometheus.ValueType, name, help string, read func(*figures) float64) {
		g.all = append(g.all, gauge{prometheus.NewDesc(name, help, nil, nil), kind, read})
	}
	now := prometheus.GaugeValue
	total := prometheus.CounterValue
	add(total, "etcd_store_expires_total", "Nodes removed because their time was over.",
		func(f *figures) float64 { return float64(f.ExpireCount) })
	add(now, "etcd_store_watchers", "Watches that wait for an event.",
		func(f *figures) float64 { return float64(f.Watchers) })
	add(now, "etcd_store_history_first_index", "Etcd index of the oldest event that a watch can start from.",
		func(f *figures) float64 { return float64(f.HistoryFirst) })
	add(now, "etcd_store_history_last_index", "Etcd index of the newest event.",
		func(f *figures) float64 { return float64(f.HistoryLast) })
	add(now, "etcd_server_pending_proposal_total", "Writes that wait for their outcome.",
		func(f *figures) float64 { return float64(f.PendingProposals) })
	add(now, "etcd_server_inbox_length", "Inputs queued before the raft loop.",
		func(f *figures) float64 { return float64(f.InboxLength) })
	add(now, "etcd_server_apply_queue_length", "Groups of committed entries queued before the applier.",
		func(f *figures) float64 { return float64(f.ApplyQueueLength) })
	add(now, "etcd_server_has_leader", "1 while this member knows a leader.",
		func(f *figures) float64 { return oneIf(f.Leader != 0) })
	add(now, "etcd_server_is_leader", "1 while this member leads.",
		func(f *figures) float64 { return oneIf(f.Leader != 0 && f.Leader == f.ID) })
	add(now, "etcd_server_is_learner", "1 while this member has no vote yet.",
		func(f *figures) float64 { return oneIf(f.Learner) })
	add(now, "etcd_server_voters", "Members with a vote, as this member knows them.",
		func(f *figures) float64 { return float64(f.Voters) })
	add(now, "etcd_server_learners", "Members that wait for their vote.",
		func(f *figures) float64 { return float64(f.Learners) })
	add(total, "etcd_server_leader_changes_total", "Changes of the leader seen since the start.",
		func(f *figures) float64 { return float64(f.LeaderChanges) })
	add(now, "etcd_server_raft_term", "Raft term of this member.",
		func(f *figures) float64 { return float64(f.Term) })
	add(now, "etcd_server_committed_index", "Last raft index known to be committed.",
		func(f *figures) float64 { return float64(f.Commit) })
	add(now, "etcd_server_applied_index", "Last raft index applied to the tree.",
		func(f *figures) float64 { return float64(f.Applied) })
	add(now, "etcd_checkpoint_db_size_bytes", "Size of the checkpoint file.",
		func(f *figures) float64 { return float64(f.DatabaseBytes) })
	add(now, "etcd_wal_size_bytes", "Size of the write-ahead log.",
		func(f *figures) float64 { return float64(f.LogBytes) })
	add(now, "etcd_server_file_descriptors_used_total", "Files the process holds open.",
		func(*figures) float64 { return float64(openfiles.Count()) })
	return g
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// Describe implements prometheus.Collector.
func (g *gauges) Describe(ch chan<- *prometheus.Desc) {
	ch <- g.writes
	ch <- g.age
	for _, one := range g.all {
		ch <- one.desc
	}
}

// Collect implements prometheus.Collector.
func (g *gauges) Collect(ch chan<- prometheus.Metric) {
	f := &figures{g.server.Status(), g.server.StoreStats()}
	for _, one := range g.all {
		ch <- prometheus.MustNewConstMetric(one.desc, one.kind, one.read(f))
	}
	if age, known := g.server.Age(); known {
		ch <- prometheus.MustNewConstMetric(g.age, prometheus.GaugeValue, age.Seconds())
	}
	for action, n := range map[store.Action]uint64{
		store.Set:              f.SetsSuccess + f.SetsFail,
		store.Create:           f.CreateSuccess + f.CreateFail,
		store.Update:           f.UpdateSuccess + f.UpdateFail,
		store.CompareAndSwap:   f.CompareAndSwapSuccess + f.CompareAndSwapFail,
		store.Delete:           f.DeleteSuccess + f.DeleteFail,
		store.CompareAndDelete: f.CompareAndDeleteSuccess + f.CompareAndDeleteFail,
	} {
		ch <- prometheus.MustNewConstMetric(g.writes, prometheus.CounterValue, float64(n), action.String())
	}
}
