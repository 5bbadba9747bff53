package proxy

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"
)

// pollClient is a client that waits for the answer of a poll.
type pollClient struct {
	p     *Proxy
	w     http.ResponseWriter
	r     *http.Request
	ctx   context.Context // ends when the client has gone
	begun time.Time
	sent  bool // the head
}

// servePoll answers a long poll together with all others that ask the same.
func (p *Proxy) servePoll(w http.ResponseWriter, r *http.Request, o *outgoing, key pollKey) {
	ctx, done := p.lasting(r)
	defer done()
	c := &pollClient{p: p, w: w, r: r, ctx: ctx, begun: time.Now()}
	for {
		known, stale := c.ask(o, key)
		if !stale {
			return
		}
		// What the member sent happened before this client asked. It waits for
		// what came after, and a poll with an index misses nothing.
		key.since = known + 1
		o = o.since(key.since)
	}
}

// ask begins or joins a poll and waits for it. stale is true when the answer is not
// for this client, which has to ask for what came after known.
func (c *pollClient) ask(o *outgoing, key pollKey) (known uint64, stale bool) {
	shared, known := c.p.join(o, key)
	if shared == nil {
		c.fail(errStopping)
		return 0, false
	}
	defer c.p.polls.leave(shared)
	return known, c.await(shared, known)
}

// await passes the answer on when it comes, unless it is stale.
func (c *pollClient) await(shared *poll, known uint64) (stale bool) {
	select {
	case <-shared.headed:
	case <-shared.done:
	case <-c.ctx.Done():
		c.fail(context.Cause(c.ctx))
		return false
	}
	select {
	case <-shared.done: // head and body leave together
	default:
		c.begin(shared.head, known)
		if http.NewResponseController(c.w).Flush() != nil {
			c.fail(errGone)
			return false
		}
		select {
		case <-shared.done:
		case <-c.ctx.Done():
			c.fail(context.Cause(c.ctx))
			return false
		}
	}
	switch {
	case shared.err != nil:
		c.fail(shared.err)
		return false
	case shared.event != 0 && shared.event <= known:
		return true
	case c.sent && shared.head.status != http.StatusOK:
		c.fail(errCut)
		return false
	}
	c.begin(shared.head, known)
	extendWrite(c.w)
	if _, err := c.w.Write(shared.body); err != nil {
		c.fail(errGone)
	}
	return false
}

// begin sends the head, once. Who joined late is told what the member had reached
// then.
func (c *pollClient) begin(h *head, known uint64) {
	if c.sent {
		return
	}
	c.sent = true
	c.p.metrics.Handled(c.r.Method, h.status, time.Since(c.begun))
	header := h.header
	if known > h.index {
		header = header.Clone()
		header.Set(indexHeader, strconv.FormatUint(known, 10))
	}
	c.p.begin(c.w, c.r, h.status, header)
}

// fail ends the request without an answer of a member.
func (c *pollClient) fail(err error) {
	if c.sent {
		if errors.Is(err, errGone) {
			c.p.logGone(c.r)
		}
		// The connection is cut, so that nobody takes the end for an empty answer.
		panic(http.ErrAbortHandler)
	}
	c.p.refuse(c.w, c.r, err)
}
