package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"etcd2/test/expiry"
)

// Shape of the load.
const (
	keysAtATime   = 4
	keyLifetime   = 1500 * time.Millisecond // then others take their place: a short history is checked fast
	clientTimeout = 2 * time.Second
	clientPause   = 5 * time.Millisecond
	ttlShare      = 25 // one of so many requests gives a TTL
)

// client sends one request after the other, to the member that answered last.
type client struct {
	w       *world
	id      int
	rng     *rand.Rand
	http    *http.Client
	at      int               // member
	serial  int               // of its values
	seen    map[string]string // the last value it saw of a key
	history []operation
	lease   lease          // the last key to which it gave a TTL
	leases  []expiry.Write // all writes with a TTL
}

// operation is one request and what came of it. Times are since the process began.
type operation struct {
	client    int
	key       string
	do        action
	call, end time.Duration
	answer    answer
}

// action is what a request asks for.
type action struct {
	kind  string // "get", "put", "swap" or "delete"
	value string // put, swap: the new value, never used twice
	prev  string // swap: the value it must have
}

// answer is what the server said. A zero answer says nothing: the request may have
// taken effect, or may yet.
type answer struct {
	known  bool
	done   bool   // the write took effect, or the key was there
	absent bool   // there was no such key
	value  string // get: what it held
	index  uint64 // write: its index
}

func newClient(w *world, id int) *client {
	return &client{
		w: w, id: id, at: id % size, seen: map[string]string{},
		rng:  rand.New(rand.NewPCG(w.seed, uint64(id)+1)),
		http: plainHTTP(clientTimeout),
	}
}

func plainHTTP(timeout time.Duration) *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4}, Timeout: timeout}
}

// run works until ctx ends. The request under way is finished.
func (c *client) run(ctx context.Context) {
	tick := time.NewTicker(clientPause)
	defer tick.Stop()
	for ; ctx.Err() == nil; <-tick.C {
		if c.rng.IntN(ttlShare) == 0 {
			c.writeTTL()
			continue
		}
		generation := time.Since(c.w.began) / keyLifetime
		op := operation{client: c.id, key: fmt.Sprintf("/chaos/g%d/k%d", generation, c.rng.IntN(keysAtATime))}
		op.do = c.choose(op.key)
		op.call = time.Since(c.w.began)
		op.answer = c.send(op)
		op.end = time.Since(c.w.began)
		c.history = append(c.history, op)
		if a := op.answer; !a.known {
			c.at = (c.at + 1) % size
		} else if op.do.kind == "get" {
			c.seen[op.key] = a.value
		} else if a.done {
			c.seen[op.key] = op.do.value
			c.w.line.Acknowledged(c.w.began.Add(op.call), c.w.began.Add(op.end))
		}
	}
}

// choose draws what to do with a key.
func (c *client) choose(key string) action {
	c.serial++
	value := fmt.Sprintf("c%d-%d", c.id, c.serial)
	switch n := c.rng.IntN(10); {
	case n < 4:
		return action{kind: "get"}
	case n < 8:
		return action{kind: "put", value: value}
	case n < 9 && c.seen[key] != "":
		return action{kind: "swap", value: value, prev: c.seen[key]}
	case n < 9:
		return action{kind: "put", value: value}
	default:
		return action{kind: "delete"}
	}
}

// send carries out one operation.
func (c *client) send(op operation) answer {
	base := c.w.members[c.at].URL()
	form := url.Values{}
	method := http.MethodPut
	switch op.do.kind {
	case "get":
		method = http.MethodGet
		form.Set("quorum", "true")
	case "delete":
		method = http.MethodDelete
	case "swap":
		form.Set("value", op.do.value)
		form.Set("prevValue", op.do.prev)
	default:
		form.Set("value", op.do.value)
	}
	return request(context.Background(), c.http, method, base+"/v2/keys"+op.key+"?"+form.Encode())
}

func put(ctx context.Context, h *http.Client, base, key, value string) answer {
	return request(ctx, h, http.MethodPut, base+"/v2/keys"+key+"?value="+url.QueryEscape(value))
}

// request reads an answer. Whatever is no answer of the store says nothing.
func request(ctx context.Context, h *http.Client, method, target string) answer {
	req, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(""))
	if err != nil {
		return answer{}
	}
	resp, err := h.Do(req)
	if err != nil {
		return answer{}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	var event struct {
		ErrorCode int `json:"errorCode"`
		Node      struct {
			Value    string `json:"value"`
			Modified uint64 `json:"modifiedIndex"`
		} `json:"node"`
	}
	if err != nil || json.Unmarshal(body, &event) != nil {
		return answer{}
	}
	switch {
	case resp.StatusCode/100 == 2:
		return answer{known: true, done: true, value: event.Node.Value, index: event.Node.Modified}
	case event.ErrorCode == 100: // no such key
		return answer{known: true, absent: true}
	case event.ErrorCode == 101: // another value than expected
		return answer{known: true}
	}
	return answer{}
}
