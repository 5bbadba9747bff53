package etcdserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"etcd2/etcdserver/replica"
	"etcd2/membership"
)

// metadata is kept in the header of the log: which member it belongs to, and with which
// members the cluster began or, for a member that joined it, which to reach first. A
// log is made with it in one step, so a member that dies before its first entry needs
// nothing else to begin again.
type metadata struct {
	Version  int                    `json:"version"`
	Member   membership.ID          `json:"member"`
	Cluster  membership.ID          `json:"cluster"`
	Founders []replica.MemberRecord `json:"founders,omitempty"`
	Remotes  []replica.MemberRecord `json:"remotes,omitempty"`
}

const metadataVersion = 1

// newMetadata returns the metadata of a member that founds or joins a cluster.
func newMetadata(cfg Config) (metadata, error) {
	md := metadata{Version: metadataVersion, Member: cfg.Self, Cluster: cfg.ClusterID}
	switch {
	case cfg.Join && len(cfg.Founders) > 0:
		return metadata{}, errors.New("etcdserver: Config.Join and Config.Founders exclude each other")
	case cfg.Join:
		md.Remotes = replica.Records(cfg.Remotes)
	case !slices.ContainsFunc(cfg.Founders, func(m membership.Member) bool { return m.ID == cfg.Self }):
		return metadata{}, fmt.Errorf("etcdserver: Config.Founders lacks the member itself, %s", cfg.Self)
	default:
		md.Founders = replica.Records(cfg.Founders)
	}
	return md, nil
}

func decodeMetadata(b []byte) (metadata, error) {
	var md metadata
	err := json.Unmarshal(b, &md)
	// A value of another type does not keep the others from being read. In another
	// version it is no fault.
	if other := new(json.UnmarshalTypeError); err != nil && (!errors.As(err, &other) || md.Version == metadataVersion) {
		return metadata{}, fmt.Errorf("metadata %q is not that of a member: %w", b, err)
	}
	if md.Version != metadataVersion {
		return metadata{}, fmt.Errorf("metadata of version %d, this program knows %d", md.Version, metadataVersion)
	}
	return md, nil
}
