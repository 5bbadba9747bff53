package etcdserver

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"etcd2/membership"
	"etcd2/store"
	"etcd2/version"
)

const (
	// versionPeriod is how often the leader asks the members for their versions
	// while the cluster version is not the highest it knows.
	versionPeriod = 4 * time.Second
	// cautiousVersion is decided on while a member does not say what it is: what
	// every member of a rolling upgrade can speak.
	cautiousVersion = version.MinCluster
)

// negotiate decides the cluster version as long as this member leads, until ctx
// ends: the highest that all members speak. It asks them when it becomes the
// leader and, until nothing better can come, every versionPeriod.
func (s *Server) negotiate(ctx context.Context) error {
	tick := time.NewTicker(versionPeriod)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.newRole:
			tick.Reset(versionPeriod)
		case <-tick.C:
			if s.ClusterVersion() == version.Cluster {
				continue
			}
		}
		if s.leading() {
			s.decideVersion(ctx)
		}
	}
}

// decideVersion does one round. Failing is no harm: the next tick, or the next
// leader, tries again.
func (s *Server) decideVersion(ctx context.Context) {
	said, unknown := s.askVersions(ctx)
	decided := s.ClusterVersion()
	next := nextVersion(decided, said, unknown)
	if next == "" || ctx.Err() != nil {
		return
	}
	if decided == "" {
		s.log.Info(fmt.Sprintf("setting up the initial cluster version to %s", majorMinor(next)))
	} else {
		s.log.Info(fmt.Sprintf("updating the cluster version from %s to %s", majorMinor(decided), majorMinor(next)))
	}
	op := store.Op{Action: store.Set, Path: membership.VersionPath, Value: next}
	if _, err := s.doInternal(ctx, op); err != nil && ctx.Err() == nil {
		s.log.Warn("the cluster version is not decided yet", "error", err)
	}
}

// askVersions asks all members at a time and returns what those said that
// answered, this one among them, and how many did not.
func (s *Server) askVersions(ctx context.Context) (said []version.Number, unknown int) {
	ctx, cancel := context.WithTimeout(ctx, time.Second+s.cfg.Election)
	defer cancel()
	said = []version.Number{version.OfServer()}
	var mu sync.Mutex // guards said and unknown
	var asking sync.WaitGroup
	for _, m := range s.Members() {
		if m.ID == s.id {
			continue
		}
		asking.Go(func() {
			text, _, err := s.peers.Version(ctx, m)
			var v version.Number
			if err == nil {
				if v, err = version.Parse(text); err != nil {
					s.log.Error(fmt.Sprintf("cannot understand the version of member %s (%s)", m.ID, text))
				}
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				unknown++
				return
			}
			said = append(said, v)
			if v.Compare(version.OfServer()) > 0 {
				s.log.Warn(fmt.Sprintf("the local etcd version %s is not up-to-date", version.Server))
				s.log.Warn(fmt.Sprintf("member %s has a higher version %s", m.ID, text))
			}
		})
	}
	asking.Wait()
	return said, unknown
}

// nextVersion is the cluster version to decide on; "" to leave it as it is. It
// never goes down: members may rely on what was decided.
func nextVersion(decided string, said []version.Number, unknown int) string {
	if unknown > 0 {
		if decided == "" {
			return cautiousVersion
		}
		return ""
	}
	lowest := slices.MinFunc(said, version.Number.Compare).Minor()
	if now, err := version.Parse(decided); err == nil && lowest.Compare(now) <= 0 {
		return ""
	}
	return lowest.String()
}

// majorMinor shortens "2.3.0" to "2.3", the form of the log lines.
func majorMinor(version string) string { return strings.TrimSuffix(version, ".0") }
