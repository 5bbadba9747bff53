package v2

import (
	"github.com/prometheus/client_golang/prometheus"

	"etcd2/store"
)

// gauges reads the state of a member at the moment of a scrape, so that nothing
// has to be counted twice while the member works.
type gauges struct {
	server Inspector
	all    []gauge
	writes *prometheus.Desc
}

// gauge is one figure of the state.
type gauge struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(*Status, *store.Stats) float64
}

func newGauges(server Inspector) *gauges {
	g := &gauges{
		server: server,
		writes: prometheus.NewDesc("etcd_store_writes_total",
			"Writes applied to the tree since its beginning, refused ones included.", []string{"action"}, nil),
	}
	add := func(kind prometheus.ValueType, name, help string, read func(*Status, *store.Stats) float64) {
		g.all = append(g.all, gauge{prometheus.NewDesc(name, help, nil, nil), kind, read})
	}
	now := prometheus.GaugeValue
	total := prometheus.CounterValue
	add(total, "etcd_store_expires_total", "Nodes removed because their time was over.",
		func(_ *Status, s *store.Stats) float64 { return float64(s.ExpireCount) })
	add(now, "etcd_store_watchers", "Watches that wait for an event.",
		func(_ *Status, s *store.Stats) float64 { return float64(s.Watchers) })
	add(now, "etcd_store_history_first_index", "Etcd index of the oldest event that a watch can start from.",
		func(st *Status, _ *store.Stats) float64 { return float64(st.HistoryFirst) })
	add(now, "etcd_store_history_last_index", "Etcd index of the newest event.",
		func(st *Status, _ *store.Stats) float64 { return float64(st.HistoryLast) })
	add(now, "etcd_server_pending_proposal_total", "Writes that wait for their outcome.",
		func(st *Status, _ *store.Stats) float64 { return float64(st.PendingProposals) })
	add(now, "etcd_server_inbox_length", "Inputs queued before the raft loop.",
		func(st *Status, _ *store.Stats) float64 { return float64(st.InboxLength) })
	add(now, "etcd_server_apply_queue_length", "Groups of committed entries queued before the applier.",
		func(st *Status, _ *store.Stats) float64 { return float64(st.ApplyQueueLength) })
	add(now, "etcd_server_has_leader", "1 while this member knows a leader.",
		func(st *Status, _ *store.Stats) float64 { return oneIf(st.Leader != 0) })
	add(now, "etcd_server_is_leader", "1 while this member leads.",
		func(st *Status, _ *store.Stats) float64 { return oneIf(st.Leader != 0 && st.Leader == st.ID) })
	add(total, "etcd_server_leader_changes_total", "Changes of the leader seen since the start.",
		func(st *Status, _ *store.Stats) float64 { return float64(st.LeaderChanges) })
	add(now, "etcd_server_raft_term", "Raft term of this member.",
		func(st *Status, _ *store.Stats) float64 { return float64(st.Term) })
	add(now, "etcd_server_committed_index", "Last raft index known to be committed.",
		func(st *Status, _ *store.Stats) float64 { return float64(st.Commit) })
	add(now, "etcd_server_applied_index", "Last raft index applied to the tree.",
		func(st *Status, _ *store.Stats) float64 { return float64(st.Applied) })
	add(now, "etcd_checkpoint_db_size_bytes", "Size of the checkpoint file.",
		func(st *Status, _ *store.Stats) float64 { return float64(st.DatabaseBytes) })
	add(now, "etcd_wal_size_bytes", "Size of the write-ahead log.",
		func(st *Status, _ *store.Stats) float64 { return float64(st.LogBytes) })
	add(now, "etcd_server_file_descriptors_used_total", "Files the process holds open.",
		func(*Status, *store.Stats) float64 { return float64(openFiles()) })
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
	for _, one := range g.all {
		ch <- one.desc
	}
}

// Collect implements prometheus.Collector.
func (g *gauges) Collect(ch chan<- prometheus.Metric) {
	st, stats := g.server.Status(), g.server.StoreStats()
	for _, one := range g.all {
		ch <- prometheus.MustNewConstMetric(one.desc, one.kind, one.read(&st, &stats))
	}
	for action, n := range map[store.Action]uint64{
		store.Set:              stats.SetsSuccess + stats.SetsFail,
		store.Create:           stats.CreateSuccess + stats.CreateFail,
		store.Update:           stats.UpdateSuccess + stats.UpdateFail,
		store.CompareAndSwap:   stats.CompareAndSwapSuccess + stats.CompareAndSwapFail,
		store.Delete:           stats.DeleteSuccess + stats.DeleteFail,
		store.CompareAndDelete: stats.CompareAndDeleteSuccess + stats.CompareAndDeleteFail,
	} {
		ch <- prometheus.MustNewConstMetric(g.writes, prometheus.CounterValue, float64(n), action.String())
	}
}
