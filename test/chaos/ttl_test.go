package chaos

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"etcd2/test/expiry"
	"etcd2/test/proc"
	"etcd2/test/wire"
)

// ttlDir holds the keys with a TTL.
const ttlDir = "/chaos/ttl"

// ttlLimits are what a TTL may differ by. The servers promise 200 ms beside leaderless
// time. The rest is the machine's: three servers, eight clients and the watchers share
// two cores with other tests, so that an entry, a sync or an event may wait in a queue.
// A fault that loses cluster time or adds it does so by an election, which is longer.
var ttlLimits = expiry.Limits{Early: 20 * time.Millisecond, Late: 200*time.Millisecond + 500*time.Millisecond, Shown: time.Hour}

// lease is a key with a TTL that one client alone writes.
type lease struct {
	key    string
	unsure bool // a write of it has no answer
}

// writeTTL sets a new key with a TTL, or refreshes the last one.
func (c *client) writeTTL() {
	ttl := 1 + c.rng.IntN(5)
	form := url.Values{"ttl": {strconv.Itoa(ttl)}}
	if c.lease.key != "" && !c.lease.unsure && c.rng.IntN(3) > 0 {
		form.Set("refresh", "true")
		form.Set("prevExist", "true")
	} else {
		c.serial++
		c.lease = lease{key: fmt.Sprintf("%s/c%d-%d", ttlDir, c.id, c.serial)}
		form.Set("value", "leased")
	}
	w := expiry.Write{Key: c.lease.key, TTL: time.Duration(ttl) * time.Second, Call: time.Now()}
	a := request(context.Background(), c.http, http.MethodPut, c.w.members[c.at].URL()+"/v2/keys"+w.Key+"?"+form.Encode())
	w.End, w.Index = time.Now(), a.index
	switch {
	case !a.known:
		c.at, c.lease.unsure = (c.at+1)%size, true
	case !a.done: // it has expired before
		c.lease = lease{}
		return
	default:
		c.w.line.Acknowledged(w.Call, w.End)
	}
	c.leases = append(c.leases, w)
}

// watchTTLs runs a watcher of the TTLs at each member until ctx ends.
func (w *world) watchTTLs(ctx context.Context, running *sync.WaitGroup) {
	for _, m := range w.members {
		index, err := m.Index()
		if err != nil {
			w.t.Fatal(err)
		}
		watcher := expiry.NewWatcher(m.URL, ttlDir, index+1)
		w.watchers = append(w.watchers, watcher)
		running.Go(func() { watcher.Run(ctx) })
	}
}

// drainTTLs waits until all keys with a TTL are gone and all watchers have seen it.
func (w *world) drainTTLs() {
	w.t.Helper()
	proc.Eventually(w.t, timeout, fmt.Sprintf("the keys with a TTL are gone after CHAOS_SEED=%d", w.seed), func() bool {
		x, body, err := wire.Do(w.members[0].Client, wire.Request{Method: "GET", Target: "/v2/keys" + ttlDir})
		return err == nil && x.Status == 200 && !bytes.Contains(body, []byte(`"nodes"`))
	})
	last := ttlDir + "/last"
	a := request(w.t.Context(), plainHTTP(timeout), http.MethodPut, w.members[0].URL()+"/v2/keys"+last+"?ttl=1&value=leased")
	if !a.done {
		w.t.Fatalf("CHAOS_SEED=%d: PUT %s = %+v", w.seed, last, a)
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), timeout)
	defer cancel()
	for _, watcher := range w.watchers {
		if _, err := watcher.Await(ctx, last, a.index); err != nil {
			w.t.Fatal(err)
		}
	}
}

// checkTTLs judges the keys with a TTL. It comes after drainTTLs.
func (w *world) checkTTLs(crew []*client) {
	w.t.Helper()
	var writes []expiry.Write
	for _, c := range crew {
		writes = append(writes, c.leases...)
	}
	var seen [][]expiry.Expired
	for _, watcher := range w.watchers {
		seen = append(seen, watcher.Events(ttlDir+"/c"))
	}
	r := expiry.Judge(writes, seen, w.line, ttlLimits)
	w.t.Logf("%d writes with a TTL, %v without a leader: %v", len(writes), w.line.Leaderless(w.began, time.Now()).Round(time.Millisecond), r)
	for _, v := range r.Violations {
		w.t.Errorf("CHAOS_SEED=%d: %s", w.seed, v)
	}
}
