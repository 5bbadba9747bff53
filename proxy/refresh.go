package proxy

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"etcd2/internal/pause"
	"etcd2/membership"
)

// levelNotice is for what is normal but worth more than an Info line.
const levelNotice = slog.LevelInfo + 2

// refresher asks again and again who the members are.
type refresher struct {
	*Proxy
	log   *slog.Logger
	urls  []string // whom to ask
	found bool     // there were endpoints once
}

// keepRefreshing keeps the endpoints up to date until ctx ends.
func (p *Proxy) keepRefreshing(ctx context.Context) {
	f := &refresher{Proxy: p, log: p.cfg.Logger, urls: p.cfg.PeerURLs}
	f.logStart()
	f.urls = slices.Sorted(slices.Values(f.urls))
	f.refresh(ctx)
	close(p.ready)
	for pause.For(ctx, f.interval()) == nil {
		f.refresh(ctx)
	}
}

// interval is how long to wait for the next question.
func (f *refresher) interval() time.Duration {
	if f.cfg.RefreshInterval >= longRefresh && len(f.endpoints.Available()) == 0 {
		return retryInterval
	}
	return f.cfg.RefreshInterval
}

func (f *refresher) logStart() {
	if kept := f.cfg.Kept; kept != nil && len(f.urls) > 0 && slices.Equal(kept.URLs(), f.urls) {
		f.log.Info(fmt.Sprintf("using peer urls %v from cluster file %q", f.urls, kept.File()))
		return
	}
	f.log.Info(fmt.Sprintf("using peer urls %v ", f.urls)) // tools know the blank at the end
}

// refresh asks once. What it has stays when there is no better answer.
func (f *refresher) refresh(ctx context.Context) {
	running, err := f.cfg.Members.Running(ctx, f.urls)
	if err != nil {
		if ctx.Err() == nil {
			f.log.Warn(err.Error())
		}
		return
	}
	if peers := all(running.Members, func(m membership.Member) []string { return m.PeerURLs }); len(peers) > 0 {
		f.keep(peers)
	}
	if clients := all(running.Members, func(m membership.Member) []string { return m.ClientURLs }); len(clients) > 0 {
		f.endpoints.Set(clients) // without any they are members that have just been born
	}
	if usable := f.endpoints.Available(); !f.found && len(usable) > 0 {
		f.found = true
		f.log.Info(fmt.Sprintf("endpoints found %q", texts(usable)))
	}
}

// all returns the URLs of all members, sorted, each once.
func all(members []membership.Member, of func(membership.Member) []string) []string {
	var urls []string
	for _, m := range members {
		urls = append(urls, of(m)...)
	}
	slices.Sort(urls)
	return slices.Compact(urls)
}

// keep remembers whom to ask from now on, also over a restart.
func (f *refresher) keep(peers []string) {
	if kept := f.cfg.Kept; kept != nil {
		if err := kept.save(peers); err != nil {
			// The old list leads to the cluster as well, until all members have moved.
			f.log.Warn("could not keep the peer urls: " + err.Error())
		}
	}
	if !slices.Equal(peers, f.urls) {
		f.log.Log(context.Background(), levelNotice,
			fmt.Sprintf("updated peer urls in cluster file from %v to %v", f.urls, peers))
		f.urls = peers
	}
}
