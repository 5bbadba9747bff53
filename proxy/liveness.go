package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"syscall"
	"time"

	"etcd2/internal/pause"
)

// errSilent ends what waits for an endpoint that does not answer.
var errSilent = errors.New("the endpoint does not answer")

// upPeriod is the time from when an endpoint begins to answer to when it falls silent.
// Its context ends with it.
type upPeriod struct {
	context.Context
	end context.CancelFunc
}

func newUpPeriod() *upPeriod {
	u := new(upPeriod)
	u.Context, u.end = context.WithCancel(context.Background())
	return u
}

// attempt is one request at one endpoint, until the body of its response is closed.
type attempt struct {
	e      *endpoint
	cancel context.CancelCauseFunc
	doubt  *time.Timer // nil without probes
	unbind func() bool // from the up period
	end    func()      // releases all of it, once

	conn *timedConn // that carries the request; nil for reads and before there is one
	from int64      // bytes written on conn before the request
	sent bool       // on a connection that was given up for conn
}

// attempt returns the attempt to send o to e and its context. The context ends with
// errSilent when e falls silent: at once for a read, which can be repeated elsewhere,
// and after SilentWriteTimeout for a write, unless e answers again before that.
func (p *Proxy) attempt(ctx context.Context, o *outgoing, e *endpoint) (context.Context, *attempt) {
	p.endpoints.Begin(e)
	a := &attempt{e: e}
	ctx, a.cancel = context.WithCancelCause(ctx)
	up, bound, patience := e.up.Load(), ctx, time.Duration(0)
	if !o.repeatable() {
		patience = p.cfg.SilentWriteTimeout
	}
	a.unbind = context.AfterFunc(up, func() { a.endSilent(bound, up, patience) })
	if p.cfg.ProbeInterval > 0 {
		a.doubt = time.AfterFunc(p.cfg.ProbeTimeout/4, func() { p.endpoints.Doubt(e) })
	}
	a.end = sync.OnceFunc(func() {
		a.answered()
		a.unbind()
		a.cancel(nil)
		p.endpoints.End(e)
	})
	if !o.repeatable() {
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: a.gotConn})
	}
	return ctx, a
}

// endSilent ends the attempt when its endpoint has been silent for the given time. up is
// the period that has just ended.
func (a *attempt) endSilent(ctx context.Context, up *upPeriod, after time.Duration) {
	for pause.For(ctx, after) == nil {
		next := a.e.up.Load()
		if next == up {
			a.cancel(errSilent)
			return
		}
		up = next // it has answered meanwhile
		select {
		case <-up.Done():
		case <-ctx.Done():
		}
	}
}

// answered says that the header of the response is there.
func (a *attempt) answered() {
	if a.doubt != nil {
		a.doubt.Stop()
	}
}

// gotConn notes the connection that carries the request. There is a second one if the
// first was closed by the endpoint before it took anything.
func (a *attempt) gotConn(info httptrace.GotConnInfo) {
	a.sent = a.arrived()
	conn := info.Conn
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	a.conn = conn.(*timedConn)
	a.from = a.conn.Written()
}

// arrived reports whether the endpoint may have the request, or a part of it. It counts
// once the attempt has failed.
func (a *attempt) arrived() bool {
	return a.sent || a.conn != nil && a.conn.Written() > a.from
}

// failure returns why the attempt failed: err, if nothing better is known. A write that
// got no response in time must not be sent again.
func (a *attempt) failure(ctx context.Context, o *outgoing, err error) error {
	if errors.Is(context.Cause(ctx), errSilent) {
		err = errSilent
	}
	if !o.repeatable() && (isTimeout(err) || errors.Is(err, errSilent)) && a.arrived() {
		return &unanswered{&refusal{http.StatusGatewayTimeout,
			fmt.Sprintf("no response from %s; the request may have been carried out or not", a.e.text)}, err}
	}
	return err
}

// unanswered is the refusal of a write that was sent and may have been carried out.
type unanswered struct {
	*refusal
	cause error
}

func (e *unanswered) Unwrap() []error { return []error{e.refusal, e.cause} }

// repeatable reports whether a request changes nothing, so that it can be sent twice.
func (o *outgoing) repeatable() bool {
	return o.method == http.MethodGet || o.method == http.MethodHead || o.method == http.MethodOptions
}

// attemptBody is the body of a response, with which the attempt ends.
type attemptBody struct {
	io.ReadCloser
	end func()
}

func (b attemptBody) Close() error {
	defer b.end()
	return b.ReadCloser.Close()
}

// keepProbing finds out until ctx ends which endpoints that failed are back, and
// whether those in use still answer.
func (p *Proxy) keepProbing(ctx context.Context) {
	var probes sync.WaitGroup
	defer probes.Wait()
	for ctx.Err() == nil {
		due, next := p.endpoints.Due()
		for _, e := range due {
			// Each on its own: one that swallows packets must not delay the others.
			probes.Go(func() { p.check(ctx, e) })
		}
		t := time.NewTimer(next)
		select {
		case <-ctx.Done():
		case <-p.endpoints.changed:
		case <-t.C:
		}
		t.Stop()
	}
}

// check probes an endpoint. One that takes longer than ProbeTimeout is silent from then
// on, and the end of the probe shows when it answers again.
func (p *Proxy) check(ctx context.Context, e *endpoint) {
	silent := make(chan struct{})
	t := time.AfterFunc(p.cfg.ProbeTimeout, func() {
		defer close(silent)
		if ctx.Err() == nil {
			p.endpoints.Silent(e, fmt.Sprintf("no response header for %s", p.cfg.ProbeTimeout))
		}
	})
	err := p.probe(ctx, e)
	late := !t.Stop()
	if late {
		<-silent
	}
	if ctx.Err() != nil {
		return
	}
	if !late && unreachable(err) {
		p.endpoints.Silent(e, err.Error())
	}
	p.endpoints.Probed(e, err, late)
}

// unreachable reports whether an error says that nothing came back from the host at all.
// Connections that are open hang then. A refusal is a word of the host, which ends them.
func unreachable(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout() ||
		errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.EHOSTDOWN)
}

// probe asks an endpoint something harmless, on a connection of its own. Any response
// will do, except one of this proxy.
func (p *Proxy) probe(ctx context.Context, e *endpoint) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	res, err := p.probes.RoundTrip(p.question("/version").to(ctx, e))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if p.returned(res) {
		return errLoop
	}
	io.Copy(io.Discard, io.LimitReader(res.Body, wholeBytesMax)) // so that the connection can be used again
	return nil
}
