package discovery

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"etcd2/internal/pause"
)

const (
	// looksMin is how often a host name is looked up before it is believed not to
	// exist: it may be about to be published.
	looksMin = 3
	// looksAtOnce is how many names are looked up at the same time.
	looksAtOnce = 16
)

// host is what was found out about a host name and port.
type host struct {
	name  string
	port  uint16
	addrs []netip.AddrPort
	err   error // why there are none
}

// resolve looks up each of these hosts with ports. A name of which the name server
// says that it does not exist has that error in the result; one that cannot be asked
// about is the error of resolve. Failures are logged once, at this level.
func (f *finder) resolve(ctx context.Context, hostports []string, level slog.Level) (map[string]*host, error) {
	all := make(map[string]*host)
	for _, hp := range hostports {
		h, err := splitHost(hp)
		if err != nil {
			return nil, err
		}
		all[hp] = h
	}
	missing := slices.Compact(slices.Sorted(slices.Values(hostports)))
	for tries := newTries(f.cfg.Patience); ; {
		f.lookUp(ctx, all, missing)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		var failing error
		missing = slices.DeleteFunc(missing, func(hp string) bool { return all[hp].err == nil })
		for _, hp := range missing {
			if err := all[hp].err; !isNotFound(err) {
				failing = err
			}
			if tries.n == 0 {
				f.log.Log(ctx, level, fmt.Sprintf("couldn't resolve host %s during SRV discovery", hp), "reason", all[hp].err)
			}
		}
		if len(missing) == 0 || failing == nil && tries.n >= looksMin-1 {
			return all, nil
		}
		again, err := f.again(ctx, tries, fmt.Sprintf("%d host name(s) do not resolve", len(missing)))
		switch {
		case err != nil:
			return nil, err
		case !again && failing != nil:
			return nil, failing
		case !again:
			return all, nil
		}
	}
}

// lookUp looks up the missing ones, several at a time, and returns when all have an
// answer.
func (f *finder) lookUp(ctx context.Context, all map[string]*host, missing []string) {
	var group sync.WaitGroup
	room := make(chan struct{}, looksAtOnce)
	for _, hp := range missing {
		room <- struct{}{}
		group.Go(func() {
			f.lookUpOne(ctx, all[hp])
			<-room
		})
	}
	group.Wait()
}

func (f *finder) lookUpOne(ctx context.Context, h *host) {
	addrs, err := []netip.Addr(nil), error(nil)
	if literal, bad := netip.ParseAddr(h.name); bad == nil {
		addrs = []netip.Addr{literal}
	} else {
		addrs, err = f.cfg.Lookup(ctx, h.name)
	}
	if err == nil && len(addrs) == 0 {
		err = notFound(h.name, "")
	}
	h.err = err
	for _, a := range addrs {
		h.addrs = append(h.addrs, netip.AddrPortFrom(a.Unmap(), h.port))
	}
}

// splitHost reads host:port.
func splitHost(hostport string) (*host, error) {
	name, text, err := net.SplitHostPort(hostport)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("port of %s: %w", hostport, err)
	}
	return &host{name: name, port: uint16(port)}, nil
}

// tries counts attempts and knows when to give up.
type tries struct {
	n    int
	rest pause.Growing
	end  time.Time
}

func newTries(patience time.Duration) *tries {
	return &tries{rest: pause.Growing{Min: 500 * time.Millisecond, Max: tellEvery}, end: time.Now().Add(patience)}
}

// again waits for the next attempt; false when patience is at its end.
func (f *finder) again(ctx context.Context, t *tries, why string) (bool, error) {
	t.n++
	wait := t.rest.Next()
	if time.Now().Add(wait).After(t.end) {
		return false, nil
	}
	f.log.Info(fmt.Sprintf("%s, asking again in %s", why, wait))
	return true, pause.For(ctx, wait)
}
