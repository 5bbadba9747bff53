package discovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"slices"
	"strconv"
	"time"

	"etcd2/client"
	"etcd2/internal/pause"
	"etcd2/membership"
)

const (
	// listBytesMax is more than the largest list of members takes.
	listBytesMax = 1 << 20
	// sizeMax is far beyond any cluster; a size above it is a mistake.
	sizeMax = 1000
	// requestMax is how long one request may take, body and redirects included.
	requestMax = 15 * time.Second
	// pollMax is how long one poll waits for the next member. After it the list is
	// read again, which also finds out about a connection that is dead.
	pollMax = time.Minute
	// missesMax is how often the list may lack this member: what answers may be
	// several servers, some of which lag.
	missesMax = 5
)

// levelNotice is the level of what is normal but worth more than an Info line.
const levelNotice = slog.LevelInfo + 2

// place is a meeting place: a directory of the v2 API with a key _config/size and,
// for each member that arrived, a key of its ID.
type place struct {
	keys  client.Keys
	path  string // of the directory, without a slash at the end
	base  string // URL without path, for the log
	token string // the URL as given
	log   *slog.Logger

	registering func() error // nil for nothing
	registered  bool

	retry    pause.Growing
	told     map[membership.ID]bool // members that are in the log
	progress progress
}

// arrival is what one member registered.
type arrival struct {
	id      membership.ID
	created uint64 // createdIndex, which is the order of arrival
	value   string
}

// join registers self with this value and waits for the others.
func (p *place) join(ctx context.Context, self membership.Member, value string) (membership.Peers, error) {
	here, err := p.look(ctx)
	switch {
	case err != nil:
		return nil, err
	case here.has(self.ID) && p.registered && here.value(self.ID) == value:
		return p.await(ctx, self)
	case here.has(self.ID):
		return nil, ErrDuplicateID
	case len(here.arrived) == here.size:
		return nil, ErrFull
	}
	if p.registering != nil {
		if err := p.registering(); err != nil {
			return nil, err
		}
	}
	created, err := p.register(ctx, self.ID, value)
	if err != nil {
		return nil, err
	}
	p.see(ctx, self.ID, created)
	return p.await(ctx, self)
}

// await waits for the others of a member that has registered.
func (p *place) await(ctx context.Context, self membership.Member) (membership.Peers, error) {
	peers, err := p.gather(ctx, &self)
	if err != nil {
		return nil, err
	}
	if !slices.Equal(peers[self.Name], self.PeerURLs) {
		return nil, ErrVanished
	}
	return peers, nil
}

// gather waits until all have arrived. self has registered; nil is somebody who
// does not take part.
func (p *place) gather(ctx context.Context, self *membership.Member) (membership.Peers, error) {
	missed, before := 0, -1
	idle := pause.Growing{Min: idleMin, Max: tellEvery}
	for {
		here, err := p.look(ctx)
		if err != nil {
			return nil, err
		}
		if self != nil && !here.has(self.ID) {
			missed++
			switch {
			case len(here.arrived) == here.size:
				return nil, ErrFull
			case missed > missesMax:
				return nil, ErrVanished
			}
			if err := pause.For(ctx, time.Second); err != nil {
				return nil, err
			}
			continue
		}
		missed = 0
		peers, err := here.peers()
		if err != nil {
			return nil, err
		}
		p.tell(here, self, before)
		if len(here.arrived) == here.size {
			return p.complete(here, peers)
		}
		if len(here.arrived) != before {
			idle.Reset()
		} else if err := idle.Wait(ctx); err != nil {
			return nil, err
		}
		before = len(here.arrived)
		event, err := p.poll(ctx, here)
		if err != nil {
			return nil, err
		}
		if !event {
			idle.Reset() // it took its time
		}
	}
}

// complete is the end of the wait.
func (p *place) complete(here *gathering, peers membership.Peers) (membership.Peers, error) {
	p.notice(fmt.Sprintf("found %d needed peer(s)", here.size))
	if peers.CheckDistinct() != nil {
		return nil, &DuplicateURLError{Cluster: peers}
	}
	for _, m := range peers.Members(p.token) {
		if !here.has(m.ID) {
			p.log.Warn("a member registered with an ID that this discovery URL does not give; all members have to be given the same spelling of it", "name", m.Name, "expected", m.ID.String())
		}
	}
	return peers, nil
}

// tell logs who has arrived since there were so many.
func (p *place) tell(here *gathering, self *membership.Member, before int) {
	for _, a := range here.arrived {
		if p.told[a.id] {
			continue
		}
		p.told[a.id] = true
		who := "peer"
		if self != nil && a.id == self.ID {
			who = "self"
		}
		p.notice(fmt.Sprintf("found %s %s in the cluster", who, a.id))
	}
	arrived, missing := len(here.arrived), here.size-len(here.arrived)
	if missing > 0 && arrived != before {
		p.notice(fmt.Sprintf("found %d peer(s), waiting for %d more", arrived, missing))
	}
	if missing > 0 && p.progress.due(arrived) {
		p.log.Info(fmt.Sprintf("%d of %d arrived, waiting for %d", arrived, here.size, missing))
	}
}

func (p *place) notice(text string) { p.log.Log(context.Background(), levelNotice, text) }

// gathering is the place at one moment.
type gathering struct {
	size    int
	arrived []arrival // the first size of them, in order of arrival
	index   uint64    // etcd index of the list
}

// has tells whether the member is one of those that count.
func (g *gathering) has(id membership.ID) bool {
	return slices.ContainsFunc(g.arrived, func(a arrival) bool { return a.id == id })
}

// value is what the member has registered; "" for nothing.
func (g *gathering) value(id membership.ID) string {
	for _, a := range g.arrived {
		if a.id == id {
			return a.value
		}
	}
	return ""
}

// look reads size and list, and waits as long as nobody answers.
func (p *place) look(ctx context.Context) (*gathering, error) {
	here := new(gathering)
	err := p.persist(ctx, "cluster status check", func(ctx context.Context) error {
		size, err := p.keys.Get(ctx, p.path+"/_config/size", client.GetOptions{})
		if client.IsCode(err, client.CodeKeyNotFound) {
			return ErrNoSize
		}
		if err != nil {
			return err
		}
		if here.size, err = parseSize(size.Node.Value); err != nil {
			return err
		}
		list, err := p.keys.Get(ctx, p.path, client.GetOptions{})
		if err != nil {
			return err
		}
		here.index = list.Index
		here.arrived, err = arrivals(list.Node.Nodes, here.size)
		return err
	})
	if err != nil {
		return nil, err
	}
	return here, nil
}

// parseSize reads the number of founding members.
func parseSize(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if errors.Is(err, strconv.ErrRange) || n > sizeMax {
		return 0, fmt.Errorf("%w: more than %d members", ErrBadSize, sizeMax)
	}
	if err != nil || n <= 0 {
		return 0, ErrBadSize
	}
	return n, nil
}

// arrivals takes the first size members from the children of the directory.
func arrivals(nodes []client.Node, size int) ([]arrival, error) {
	nodes = slices.DeleteFunc(nodes, func(n client.Node) bool { return path.Base(n.Key) == "_config" })
	slices.SortStableFunc(nodes, func(a, b client.Node) int { return cmp.Compare(a.CreatedIndex, b.CreatedIndex) })
	found := new(gathering)
	for _, n := range nodes[:min(size, len(nodes))] {
		name := path.Base(n.Key)
		id, err := membership.ParseID(name)
		if err != nil || id == 0 || found.has(id) {
			return nil, fmt.Errorf("%w: %.64q is no ID of a member", ErrBadEndpoint, name)
		}
		found.arrived = append(found.arrived, arrival{id: id, created: n.CreatedIndex, value: n.Value})
	}
	return found.arrived, nil
}

// register writes the key of this member and returns its createdIndex. When an
// answer was lost, or this member waited before, the key may be there already, by
// our own hand.
func (p *place) register(ctx context.Context, id membership.ID, value string) (uint64, error) {
	key := p.path + "/" + id.String()
	var created uint64
	tried := p.registered // a list that lags did not show it
	err := p.persist(ctx, "registration", func(ctx context.Context) error {
		r, err := p.keys.Create(ctx, key, value, 0)
		again := tried
		tried = true
		if client.IsCode(err, client.CodeKeyExists) {
			if !again {
				return ErrDuplicateID
			}
			if r, err = p.keys.Get(ctx, key, client.GetOptions{}); err == nil && r.Node.Value != value {
				return ErrDuplicateID
			}
		}
		if err == nil {
			created = r.Node.CreatedIndex
		}
		return err
	})
	return created, err
}

// see waits, for a while, until the registration shows: the next answer may come
// from a server that lags. Whether it did, the list will tell.
func (p *place) see(ctx context.Context, id membership.ID, created uint64) {
	if created <= 1 {
		return // cannot be waited for
	}
	ctx, cancel := context.WithTimeout(ctx, requestMax)
	defer cancel()
	w := p.keys.Watcher(p.path+"/"+id.String(), client.WatcherOptions{AfterIndex: created - 1})
	if _, err := w.Next(ctx); err != nil {
		p.log.Debug("the registration cannot be waited for", "reason", err)
	}
}

// poll waits for an event behind this gathering; false when there was none and
// reading the list again is all there is to do.
func (p *place) poll(ctx context.Context, here *gathering) (event bool, err error) {
	within := p.progress.next(len(here.arrived))
	attempt, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	w := p.keys.Watcher(p.path, client.WatcherOptions{AfterIndex: here.index, Recursive: true})
	_, err = w.Next(attempt)
	switch {
	case err == nil || client.IsCode(err, client.CodeCleared):
		return true, nil
	case ctx.Err() != nil:
		return false, context.Cause(ctx)
	case attempt.Err() != nil:
		return false, nil
	}
	return false, p.failed(ctx, "waiting for other nodes", err)
}
