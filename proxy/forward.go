package proxy

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"
)

// hopByHop are the headers that concern one connection only. They are the same
// for requests and answers; what a Connection header names is passed on, as it
// always was.
var hopByHop = []string{
	"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
	"Te", "Trailers", "Transfer-Encoding", "Upgrade",
}

// refusal is an answer of the proxy itself.
type refusal struct {
	status int
	text   string // without the "proxy: " in front
}

func (e *refusal) Error() string { return e.text }

// outgoing is a request on its way to a member. It can be sent again and again.
type outgoing struct {
	method string
	url    url.URL // without scheme and host
	host   string
	header http.Header
	body   []byte
}

// forward passes a request on to a member and the answer back.
func (p *Proxy) forward(w http.ResponseWriter, r *http.Request) {
	p.metrics.Requested(r.Method)
	begun := time.Now()
	err := cmp.Or(p.checkHops(w, r), checkHost(r))
	if err != nil {
		p.refuse(w, r, err)
		return
	}
	body, err := readBody(w, r)
	if err != nil {
		p.refuse(w, r, err)
		return
	}
	o := p.outgoing(r, body)
	if key, ok := pollOf(r, body); ok {
		p.servePoll(w, r, o, key)
		return
	}
	ctx, done := p.lasting(r)
	defer done()
	a, err := p.send(ctx, o, nil)
	if err != nil {
		p.refuse(w, r, err)
		return
	}
	defer a.Body.Close()
	p.metrics.Handled(r.Method, a.StatusCode, time.Since(begun))
	p.reply(ctx, w, r, a)
}

// checkHost refuses a host that cannot be sent on. It comes from a request line with
// a whole URL, which net/http looks at less closely than at a Host header, and would
// look like the failure of every endpoint.
func checkHost(r *http.Request) error {
	if strings.IndexFunc(r.Host, func(c rune) bool { return c >= utf8.RuneSelf }) >= 0 {
		return &refusal{http.StatusBadRequest, "the host of the request is none that can be sent on"}
	}
	return nil
}

// readBody takes the whole body, so that it can be sent more than once.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.ContentLength == 0 {
		return nil, nil
	}
	// A sender that stalls must not hold the connection for ever. After a body that
	// came in full the deadline goes: net/http reads on, to notice when the client
	// leaves.
	rc := http.NewResponseController(w)
	rc.SetReadDeadline(time.Now().Add(bodyTimeout))
	body, err := io.ReadAll(io.LimitReader(r.Body, bodyBytesMax+1))
	switch {
	case err != nil:
		return nil, &refusal{http.StatusInternalServerError, fmt.Sprintf("failed to read request body: %v", err)}
	case len(body) > bodyBytesMax:
		return nil, &refusal{http.StatusRequestEntityTooLarge, fmt.Sprintf("the request body has more than %d bytes", bodyBytesMax)}
	}
	rc.SetReadDeadline(time.Time{})
	return body, nil
}

// outgoing returns the request to send for r.
func (p *Proxy) outgoing(r *http.Request, body []byte) *outgoing {
	header := r.Header.Clone()
	for _, h := range hopByHop {
		header.Del(h)
	}
	header.Del("Expect") // the body is here already
	if _, ok := header["User-Agent"]; !ok {
		header["User-Agent"] = nil // or net/http would give itself as the client
	}
	if ip, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		header.Set("X-Forwarded-For", strings.Join(append(r.Header.Values("X-Forwarded-For"), ip), ", "))
	}
	header.Set(hopsHeader, strings.Join(append(hops(r.Header), p.id), ","))
	return &outgoing{
		method: r.Method,
		url:    url.URL{Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery, ForceQuery: r.URL.ForceQuery},
		host:   r.Host,
		header: header,
		body:   body,
	}
}

// question is a GET of the proxy's own.
func (p *Proxy) question(path string) *outgoing {
	return &outgoing{
		method: http.MethodGet,
		url:    url.URL{Path: path},
		header: http.Header{hopsHeader: {p.id}},
	}
}

// to returns the request as it goes to one endpoint.
func (o *outgoing) to(ctx context.Context, e *endpoint) *http.Request {
	u := o.url
	u.Scheme, u.Host = e.url.Scheme, e.url.Host
	req := &http.Request{
		Method:        o.method,
		URL:           &u,
		Host:          o.host,
		Header:        o.header, // net/http only reads it
		ContentLength: int64(len(o.body)),
		Proto:         "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	if len(o.body) > 0 {
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(o.body)), nil }
		req.Body, _ = req.GetBody()
	}
	return req.WithContext(ctx)
}

// send tries the available endpoints in order until one answers. asking, unless
// it is nil, is told about each before it is tried. The error is a *refusal, or
// the cause of the end of ctx.
func (p *Proxy) send(ctx context.Context, o *outgoing, asking func(*endpoint)) (*answer, error) {
	tried := p.endpoints.Available()
	if len(tried) == 0 {
		p.metrics.Dropped(o.method, zeroEndpoints)
		return nil, &refusal{http.StatusServiceUnavailable, "zero endpoints currently available"}
	}
	loops := 0
	for _, e := range tried {
		if asking != nil {
			asking(e)
		}
		a, err := p.try(ctx, o, e)
		if err == nil {
			return a, nil
		}
		if ctx.Err() != nil { // that is why, and no fault of the endpoint
			return nil, context.Cause(ctx)
		}
		p.metrics.Dropped(o.method, failedSending)
		p.cfg.Logger.Info(fmt.Sprintf("failed to direct request to %s: %v", e.text, err))
		if !errors.Is(err, errSilent) { // or it is marked, and may be back already
			p.endpoints.Failed(e, err)
		}
		if no := new(refusal); errors.As(err, &no) {
			return nil, no
		}
		if errors.Is(err, errLoop) {
			loops++
		}
	}
	p.metrics.Dropped(o.method, failedGetting)
	if loops == len(tried) {
		return nil, &refusal{http.StatusLoopDetected, errLoop.Error()}
	}
	return nil, &refusal{http.StatusBadGateway, fmt.Sprintf("unable to get response from %d endpoint(s)", len(tried))}
}

// try sends a request to one endpoint. The error is a *refusal if no other endpoint is
// to be tried.
func (p *Proxy) try(ctx context.Context, o *outgoing, e *endpoint) (*answer, error) {
	before := e.index.Load()
	ctx, at := p.attempt(ctx, o, e)
	if e.up.Load().Err() != nil { // silent since the list of endpoints was made
		at.end()
		return nil, errSilent
	}
	res, err := p.transport.RoundTrip(o.to(ctx, e))
	if err != nil {
		err = at.failure(ctx, o, err)
		at.end()
		return nil, err
	}
	at.answered()
	res.Body = attemptBody{res.Body, at.end}
	if p.returned(res) {
		res.Body.Close()
		return nil, errLoop
	}
	e.saw(res.Header, before)
	for _, h := range hopByHop {
		res.Header.Del(h)
	}
	a := &answer{Response: res}
	if o.method == http.MethodGet && 0 < res.ContentLength && res.ContentLength <= wholeBytesMax {
		// Such an answer is on its way as a whole. If the member dies before the end,
		// the client has seen nothing yet, and another member can answer.
		defer res.Body.Close()
		a.whole = make([]byte, res.ContentLength)
		if _, err := io.ReadFull(res.Body, a.whole); err != nil {
			return nil, err
		}
	}
	return a, nil
}
