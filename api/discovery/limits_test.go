package discovery

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"etcd2/store"
)

// tally counts what a service observes.
type tally struct {
	mu     sync.Mutex // guards the field below
	counts map[string]int
}

func (c *tally) add(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts == nil {
		c.counts = make(map[string]int)
	}
	c.counts[what]++
}

func (c *tally) of(what string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts[what]
}

func (c *tally) observer() Observer {
	return Observer{
		Minted:     func() { c.add("minted") },
		Registered: func() { c.add("registered") },
		Refused:    c.add,
	}
}

func TestTokensMax(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen tally
		s, m := newService(Config{TokensMax: 2, TokensPerMinute: -1, Observe: seen.observer()})
		mint(t, s, "")
		mint(t, s, "")
		a := ask(t, s, "GET", "/new", "")
		if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
			t.Errorf("the third token = %d %s, want 503", a.status, a.body)
		}
		if seen.of("minted") != 2 || seen.of(LimitTokens) != 1 {
			t.Errorf("observed %v", seen.counts)
		}
		time.Sleep(8 * 24 * time.Hour)
		m.Do(t.Context(), store.Op{Action: store.Expire})
		mint(t, s, "")
	})
}

// Requests at the same time cannot exceed a limit together.
func TestLimitsHoldAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const tries, limit = 20, 5
		var seen tally
		s, m := newService(Config{TokensMax: limit, KeysMax: limit, TokensPerMinute: -1, Observe: seen.observer()})
		hold := func(f func()) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.writing = f
		}
		atOnce := func(what string, do func(i int)) {
			gate := make(chan struct{})
			hold(func() { <-gate })
			var all sync.WaitGroup
			for i := range tries {
				all.Go(func() { do(i) })
			}
			synctest.Wait() // until all are refused or about to write
			if refused := seen.of(what); refused != tries-limit {
				t.Errorf("%d of %d refused, want %d", refused, tries, tries-limit)
			}
			close(gate)
			all.Wait()
			hold(nil)
		}
		atOnce(LimitTokens, func(int) { ask(t, s, "GET", "http://h/new", "") })
		v, _, err := m.Get(registryPath)
		if err != nil {
			t.Fatal(err)
		}
		for n := range v.Children(registryPath) {
			token := strings.TrimPrefix(n.Path, registryPath)
			atOnce(LimitKeys, func(i int) { ask(t, s, "PUT", fmt.Sprintf("%s/%d", token, i), "value=x") })
			break
		}
		if minted, registered := seen.of("minted"), seen.of("registered"); minted != limit || registered != limit {
			t.Errorf("%d tokens made, %d members registered, want %d of each", minted, registered, limit)
		}
		if len(s.arriving) != 0 || s.minting != 0 {
			t.Errorf("places still kept: %v, %d", s.arriving, s.minting)
		}
	})
}

func TestKeysAndValues(t *testing.T) {
	var seen tally
	s, _ := newService(Config{KeysMax: 2, ValueBytesMax: 10, Observe: seen.observer()})
	token := mint(t, s, "")
	if a := ask(t, s, "PUT", token+"/a", "value=12345678901"); a.status != 400 || a.code() != 209 {
		t.Errorf("long value = %d %s, want 400 and code 209", a.status, a.body)
	}
	arrive(t, s, token, "a", "1234567890")
	arrive(t, s, token, "_state", "started")
	if a := ask(t, s, "PUT", token+"/c", "value=x"); a.status != 403 || a.code() != 103 {
		t.Errorf("one more than there may be = %d %s, want 403 and code 103", a.status, a.body)
	}
	if a := ask(t, s, "PUT", token+"/a", "value=x"); a.status != 200 {
		t.Errorf("one that is there already = %d %s, want 200", a.status, a.body)
	}
	if seen.of(LimitValue) != 1 || seen.of(LimitKeys) != 1 || seen.of("registered") != 1 {
		t.Errorf("observed %v", seen.counts)
	}
}

// Each client has its own account, which fills again.
func TestRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen tally
		s, _ := newService(Config{RequestsPerSecond: 2, TokensPerMinute: 3, Observe: seen.observer()})
		statuses := func(n int, client, target string) (ok int, last answer) {
			for range n {
				if last = ask(t, s, "GET", target, "", from(client)); last.status == http.StatusOK {
					ok++
				}
			}
			return ok, last
		}
		ok, last := statuses(10, "198.51.100.1", "http://h/new")
		if ok != 6 || last.status != http.StatusTooManyRequests || last.header.Get("Retry-After") == "" {
			t.Errorf("%d tokens made at once, then %d; want 6 and 429", ok, last.status)
		}
		if ok, _ := statuses(1, "198.51.100.2", "http://h/new"); ok != 1 {
			t.Error("another client pays for the first")
		}
		time.Sleep(time.Minute)
		if ok, _ := statuses(10, "198.51.100.1", "http://h/new"); ok != 3 {
			t.Errorf("%d tokens made a minute later, want 3", ok)
		}

		time.Sleep(10 * time.Second)
		token := mint(t, s, "") // by another client
		// Members of etcd end at 429 and come again after 503.
		ok, last = statuses(30, "198.51.100.1", token)
		if ok != 20 || last.status != http.StatusServiceUnavailable || last.code() != 300 || last.header.Get("Retry-After") == "" {
			t.Errorf("%d requests answered at once, then %d %s; want 20 and 503", ok, last.status, last.body)
		}
		time.Sleep(5 * time.Second)
		if ok, _ := statuses(30, "198.51.100.1", token); ok != 10 {
			t.Errorf("%d requests answered 5 s later, want 10", ok)
		}
		if seen.of(LimitRate) != 4+7+10+20 {
			t.Errorf("observed %v", seen.counts)
		}

		time.Sleep(forgetAfter)
		s.clients.get(netip.Prefix{})
		if n := len(s.clients.all); n != 1 {
			t.Errorf("%d accounts after a rest, want that of the last client", n)
		}
	})
}

func TestWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen tally
		s, _ := newService(Config{WaitsMax: 2, Observe: seen.observer()})
		token := mint(t, s, "")
		answers := make(chan answer, 2) // both that wait
		for range 2 {
			go func() { answers <- ask(t, s, "GET", token+"?wait=true&recursive=true", "", from("192.0.2.1")) }()
		}
		synctest.Wait()
		if a := ask(t, s, "GET", token+"?wait=true", "", from("192.0.2.1")); a.status != http.StatusServiceUnavailable || a.code() != 300 {
			t.Errorf("the third wait = %d %s, want 503", a.status, a.body)
		}
		if a := ask(t, s, "GET", token+"?wait=false", "", from("192.0.2.1")); a.status != http.StatusOK {
			t.Errorf("a get = %d %s, want 200", a.status, a.body)
		}
		arrive(t, s, token, "a", "a=http://a:1")
		for range 2 {
			if n := (<-answers).node(t); n.Value != "a=http://a:1" {
				t.Errorf("a wait got %+v", n)
			}
		}
		arrive(t, s, token, "b", "b=http://b:1")
		if a := ask(t, s, "GET", token+"/b?wait=true&waitIndex=1", "", from("192.0.2.1")); a.status != http.StatusOK {
			t.Errorf("a wait after the others = %d %s, want 200", a.status, a.body)
		}
		if seen.of(LimitWaits) != 1 {
			t.Errorf("observed %v", seen.counts)
		}
	})
}

func TestAddress(t *testing.T) {
	tests := []struct {
		remote, forwarded string
		trust             bool
		want              string
	}{
		{remote: "192.0.2.7:99", want: "192.0.2.7/32"},
		{remote: "[2001:db8:1:2:3::4]:99", want: "2001:db8:1:2::/64"},
		{remote: "[::ffff:192.0.2.7]:99", want: "192.0.2.7/32"},
		{remote: "[fe80::1%eth0]:99", want: "fe80::/64"},
		{remote: "@", want: "invalid Prefix"},
		{remote: "192.0.2.7:99", forwarded: "198.51.100.1", want: "192.0.2.7/32"},
		{remote: "192.0.2.7:99", forwarded: "203.0.113.9, 198.51.100.1", trust: true, want: "198.51.100.1/32"},
		{remote: "192.0.2.7:99", forwarded: "[2001:db8::1]", trust: true, want: "2001:db8::/64"},
		{remote: "192.0.2.7:99", trust: true, want: "192.0.2.7/32"},
	}
	for _, tt := range tests {
		s, _ := newService(Config{TrustForwarded: tt.trust})
		r := &http.Request{RemoteAddr: tt.remote, Header: http.Header{}}
		if tt.forwarded != "" {
			r.Header.Set("X-Forwarded-For", tt.forwarded)
		}
		if got := s.address(r).String(); got != tt.want {
			t.Errorf("address of %+v = %s, want %s", tt, got, tt.want)
		}
	}
}

// There is room for so many accounts; whoever comes then shares one.
func TestManyClients(t *testing.T) {
	c := newClients(&Config{RequestsPerSecond: 1, TokensPerMinute: 1, WaitsMax: 1})
	at := func(i int) netip.Prefix {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32)
	}
	for i := range clientsMax {
		c.get(at(i))
	}
	if a, b := c.get(at(clientsMax)), c.get(at(clientsMax+1)); a != b || len(c.all) != clientsMax+1 {
		t.Errorf("accounts beyond the last are two of %d, want one", len(c.all))
	}
	if a := c.get(at(7)); a.address != at(7) {
		t.Errorf("an early client has the account %v", a.address)
	}
}
