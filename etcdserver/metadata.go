package etcdserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"etcd2/etcdserver/replica"
	"etcd2/membership"
)

// identity is the metadata of the log: which member it belongs to, and with which
// members the cluster began or, for a member that joined it, which to reach first. A
// log is made with it in one step, so a member that dies before its first entry needs
// nothing else to begin again.
type identity struct {
	Version  int                    `json:"version"`
	Member   membership.ID          `json:"member"`
	Cluster  membership.ID          `json:"cluster"`
	Founders []replica.MemberRecord `json:"founders,omitempty"`
	Remotes  []replica.MemberRecord `json:"remotes,omitempty"`
}

const identityVersion = 1

// newIdentity is the identity of a member that founds or joins a cluster.
func newIdentity(cfg Config) (identity, error) {
	id := identity{Version: identityVersion, Member: cfg.Self, Cluster: cfg.ClusterID}
	switch {
	case cfg.Join && len(cfg.Founders) > 0:
		return identity{}, errors.New("etcdserver: Config.Join and Config.Founders exclude each other")
	case cfg.Join:
		id.Remotes = replica.Records(cfg.Remotes)
	case !slices.ContainsFunc(cfg.Founders, func(m membership.Member) bool { return m.ID == cfg.Self }):
		return identity{}, fmt.Errorf("etcdserver: Config.Founders lacks the member itself, %s", cfg.Self)
	default:
		id.Founders = replica.Records(cfg.Founders)
	}
	return id, nil
}

func decodeIdentity(b []byte) (identity, error) {
	var id identity
	err := json.Unmarshal(b, &id)
	// A value of another type does not keep the others from being read. In another
	// version it is no fault.
	if other := new(json.UnmarshalTypeError); err != nil && (!errors.As(err, &other) || id.Version == identityVersion) {
		return identity{}, fmt.Errorf("metadata %q is not that of a member: %w", b, err)
	}
	if id.Version != identityVersion {
		return identity{}, fmt.Errorf("metadata of version %d, this program knows %d", id.Version, identityVersion)
	}
	return id, nil
}
