package v2

import (
	"context"
	"slices"

	"etcd2/etcdserver"
	"etcd2/membership"
)

// group is the cluster of a member: a list without a log.
type group struct {
	list    []membership.Member
	gone    []membership.ID
	leader  membership.ID // 0 for none
	learner membership.ID // has no vote; 0 for none
	refuses error         // answer to every change when not nil
}

// newGroup returns a cluster of three: 1 leads, 2 follows, c0ffee has not been
// started and learns.
func newGroup() group {
	return group{
		list: []membership.Member{
			{ID: 1, Name: "one", PeerURLs: []string{"http://a:2380", "http://b:2380"}, ClientURLs: []string{"http://b:2379", "http://a:2379"}},
			{ID: 2, Name: "<2>", PeerURLs: []string{"http://c:2380"}, ClientURLs: []string{"http://a:4001"}},
			{ID: 0xc0ffee, PeerURLs: []string{"http://d:2380"}},
		},
		leader: 1, learner: 0xc0ffee,
	}
}

func (g *group) find(id membership.ID) int {
	return slices.IndexFunc(g.list, func(m membership.Member) bool { return m.ID == id })
}

func (g *group) check(id membership.ID, urls []string) (at int, err error) {
	at = g.find(id)
	switch {
	case g.refuses != nil:
		return at, g.refuses
	case slices.Contains(g.gone, id):
		return at, membership.ErrIDRemoved
	case at < 0:
		return at, membership.ErrIDNotFound
	}
	return at, g.free(id, urls)
}

// free says whether no other member has one of the URLs.
func (g *group) free(id membership.ID, urls []string) error {
	for _, m := range g.list {
		for _, u := range urls {
			if m.ID != id && slices.Contains(m.PeerURLs, u) {
				return membership.ErrPeerURLExists
			}
		}
	}
	return nil
}

func (m *member) Leader() (membership.Member, bool) {
	at := m.others.find(m.others.leader)
	if at < 0 {
		return membership.Member{}, false
	}
	return m.others.list[at], true
}

func (m *member) AddMember(_ context.Context, urls []string) (membership.Member, error) {
	g := &m.others
	added := membership.Member{ID: 0xabc, PeerURLs: urls}
	if g.refuses != nil {
		return added, g.refuses
	}
	if g.find(added.ID) >= 0 {
		return added, membership.ErrIDExists
	}
	if err := g.free(added.ID, urls); err != nil {
		return added, err
	}
	g.list = append(g.list, added)
	return added, nil
}

func (m *member) RemoveMember(_ context.Context, id membership.ID) error {
	g := &m.others
	at, err := g.check(id, nil)
	if err != nil {
		return err
	}
	g.list, g.gone = slices.Delete(g.list, at, at+1), append(g.gone, id)
	return nil
}

func (m *member) UpdateMember(_ context.Context, id membership.ID, urls []string) error {
	at, err := m.others.check(id, urls)
	if err != nil {
		return err
	}
	m.others.list[at].PeerURLs = urls
	return nil
}

func (m *member) TransferLeader(_ context.Context, to membership.ID) error {
	_, err := m.others.check(to, nil)
	switch {
	case err == membership.ErrIDRemoved:
		return membership.ErrIDNotFound
	case err != nil:
		return err
	case to == m.others.learner:
		return etcdserver.ErrLearner
	}
	m.others.leader = to
	return nil
}
