package discovery

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"etcd2/membership"
)

// ErrIncompatible says that the cluster runs a version this server cannot take
// part in. The log says which. The text, spelling included, is that of etcd 2.3.
var ErrIncompatible = errors.New("incomptible with current running cluster")

// Joined is the place of a newcomer in a running cluster.
type Joined struct {
	ClusterID membership.ID
	Self      membership.ID
	Remotes   []membership.Member // the other members, ascending by ID; names are those of the initial cluster

	Generation string // of the cluster; "" as founded, or when it is not known
}

// Join asks the other members of the initial cluster for the cluster that runs,
// and finds the place of the member called name in it. The two have to agree on
// the members and their peer URLs, so the newcomer has to be added to the cluster
// before; IDs are those of the cluster. It refuses to be a member that ran before,
// whose data would then be missing, and a cluster of versions it does not speak.
//
// A member that lags may not know the newcomer yet, so all are asked until one
// expects it. When none does, the first answer says why.
//
// The texts of its errors are those of etcd 2.3. peers must list name.
func (c *Client) Join(ctx context.Context, name string, peers membership.Peers) (*Joined, error) {
	var urls []string
	for other, theirs := range peers {
		if other != name {
			urls = append(urls, theirs...)
		}
	}
	var refused error
	for running := range c.answers(ctx, urls) {
		j, err := c.place(ctx, name, peers, running)
		if err == nil {
			if !c.compatible(ctx, j.Remotes) {
				return nil, ErrIncompatible
			}
			return j, nil
		}
		if refused == nil {
			refused = err
		}
	}
	if refused == nil {
		refused = fmt.Errorf("cannot fetch cluster info from peer urls: %w", ErrNobody)
	}
	return nil, refused
}

// BootstrappedError is the refusal of a member that ran before and comes without
// its data: it may have given promises that it no longer knows.
type BootstrappedError membership.ID

func (e BootstrappedError) Error() string {
	return fmt.Sprintf("member %s has already been bootstrapped", membership.ID(e))
}

// place finds the newcomer in the running cluster.
func (c *Client) place(ctx context.Context, name string, peers membership.Peers, running *Running) (*Joined, error) {
	j, err := c.pair(ctx, name, peers, running)
	switch {
	case err != nil:
		return nil, fmt.Errorf("error validating peerURLs %s: %w", running, err)
	case running.hasRun(j.Self):
		return nil, BootstrappedError(j.Self)
	}
	return j, nil
}

// pair matches the initial cluster with the running one.
func (c *Client) pair(ctx context.Context, name string, peers membership.Peers, running *Running) (*Joined, error) {
	if len(peers) != len(running.Members) {
		return nil, errors.New("member count is unequal")
	}
	unpaired := maps.Clone(peers)
	j := &Joined{ClusterID: running.ClusterID, Generation: running.Generation}
	for _, m := range running.Members {
		listed, ok := c.find(ctx, m.PeerURLs, unpaired)
		if !ok {
			return nil, errors.New("unmatched member while checking PeerURLs")
		}
		delete(unpaired, listed)
		if listed == name {
			j.Self = m.ID
			continue
		}
		m.Name = listed
		j.Remotes = append(j.Remotes, m)
	}
	return j, nil
}

// find returns the name of the member with these URLs, false if there is none.
// Names are resolved only when the URLs are written differently.
func (c *Client) find(ctx context.Context, urls []string, among membership.Peers) (string, bool) {
	for name, theirs := range among {
		if slices.Equal(theirs, urls) {
			return name, true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(among)) {
		if membership.SameURLs(ctx, urls, among[name], c.lookup, c.log) {
			return name, true
		}
	}
	return "", false
}

// String is the cluster the way etcd 2.3 prints it in an error.
func (r *Running) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "{ClusterID:%s Members:[", r.ClusterID)
	for i, m := range r.Members {
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "&{ID:%s RaftAttributes:{PeerURLs:%v} Attributes:{Name:%s ClientURLs:%v}}", m.ID, m.PeerURLs, m.Name, m.ClientURLs)
	}
	b.WriteString("] RemovedMemberIDs:[]}")
	return b.String()
}
