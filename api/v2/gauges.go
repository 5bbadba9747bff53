package v2

import (
	"github.com/prometheus/client_golang/prometheus"

	"etcd2/etcdserver"
	"etcd2/internal/openfiles"
	"etcd2/store"
)

// gauges shows the state of a member.
type gauges struct {
	readings[figures]
	server Server
	writes *prometheus.Desc
	age    *prometheus.Desc
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
	g.total("etcd_store_expires_total", "Nodes removed because their time was over.",
		func(f *figures) float64 { return float64(f.ExpireCount) })
	g.now("etcd_store_watchers", "Watches that wait for an event.",
		func(f *figures) float64 { return float64(f.Watchers) })
	g.now("etcd_store_history_first_index", "Etcd index of the oldest event that a watch can start from.",
		func(f *figures) float64 { return float64(f.HistoryFirst) })
	g.now("etcd_store_history_last_index", "Etcd index of the newest event.",
		func(f *figures) float64 { return float64(f.HistoryLast) })
	g.now("etcd_server_pending_proposal_total", "Writes that wait for their outcome.",
		func(f *figures) float64 { return float64(f.PendingProposals) })
	g.now("etcd_server_inbox_length", "Inputs queued before the raft loop.",
		func(f *figures) float64 { return float64(f.InboxLength) })
	g.now("etcd_server_apply_queue_length", "Groups of committed entries queued before the applier.",
		func(f *figures) float64 { return float64(f.ApplyQueueLength) })
	g.now("etcd_server_has_leader", "1 while this member knows a leader.",
		func(f *figures) float64 { return oneIf(f.Leader != 0) })
	g.now("etcd_server_is_leader", "1 while this member leads.",
		func(f *figures) float64 { return oneIf(f.Leader != 0 && f.Leader == f.ID) })
	g.now("etcd_server_is_learner", "1 while this member has no vote yet.",
		func(f *figures) float64 { return oneIf(f.Learner) })
	g.now("etcd_server_voters", "Members with a vote, as this member knows them.",
		func(f *figures) float64 { return float64(f.Voters) })
	g.now("etcd_server_learners", "Members that wait for their vote.",
		func(f *figures) float64 { return float64(f.Learners) })
	g.total("etcd_server_leader_changes_total", "Changes of the leader seen since the start.",
		func(f *figures) float64 { return float64(f.LeaderChanges) })
	g.now("etcd_server_raft_term", "Raft term of this member.",
		func(f *figures) float64 { return float64(f.Term) })
	g.now("etcd_server_committed_index", "Last raft index known to be committed.",
		func(f *figures) float64 { return float64(f.Commit) })
	g.now("etcd_server_applied_index", "Last raft index applied to the tree.",
		func(f *figures) float64 { return float64(f.Applied) })
	g.now("etcd_checkpoint_db_size_bytes", "Size of the checkpoint file.",
		func(f *figures) float64 { return float64(f.DatabaseBytes) })
	g.now("etcd_wal_size_bytes", "Size of the write-ahead log.",
		func(f *figures) float64 { return float64(f.LogBytes) })
	g.now("etcd_server_file_descriptors_used_total", "Files the process holds open.",
		func(*figures) float64 { return float64(openfiles.Count()) })
	return g
}

// Describe implements prometheus.Collector.
func (g *gauges) Describe(ch chan<- *prometheus.Desc) {
	ch <- g.writes
	ch <- g.age
	g.readings.Describe(ch)
}

// Collect implements prometheus.Collector.
func (g *gauges) Collect(ch chan<- prometheus.Metric) {
	f := &figures{g.server.Status(), g.server.StoreStats()}
	g.collect(ch, f)
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
