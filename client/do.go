package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// redirectsMax is how many redirects of one endpoint are followed.
const redirectsMax = 10

// Request is a request of the API in the terms of HTTP, for what the other methods
// of a Client do not cover.
type Request struct {
	Method      string
	Path        string     // not escaped, such as "/v2/keys/foo"
	Query       url.Values // sent sorted by name
	ContentType string     // of Body
	Body        []byte
	Waits       bool // the answer may take any time to begin
}

// Answer is what an endpoint answered with a status below 500.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Do sends a request to the endpoints in turn until one answers; a server error is
// no answer. Whatever status the answer has is left to the caller. The error is
// ErrNoEndpoints, a *ClusterError, ErrTooLong, or that of ctx.
func (c *Client) Do(ctx context.Context, r Request) (*Answer, error) {
	endpoints := c.inOrder()
	if len(endpoints) == 0 {
		return nil, ErrNoEndpoints
	}
	failed := new(ClusterError)
	for _, u := range endpoints {
		answer, err := c.ask(ctx, u, r)
		var unusable *endpointError
		switch {
		case err == nil:
			c.answered(u)
			return answer, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case !errors.As(err, &unusable):
			return nil, err
		}
		c.cfg.Logger.Debug("endpoint gave no answer", "endpoint", u.Redacted(), "reason", unusable.cause)
		failed.Errors = append(failed.Errors, unusable.cause)
	}
	return nil, failed
}

// endpointError says that another endpoint is worth a try.
type endpointError struct{ cause error }

func (e *endpointError) Error() string { return e.cause.Error() }

// ask sends a request to one endpoint and follows where it leads.
func (c *Client) ask(ctx context.Context, endpoint *url.URL, r Request) (*Answer, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	u := *endpoint
	u.Path += r.Path
	u.RawQuery = r.Query.Encode()
	for range redirectsMax + 1 {
		answer, err := c.send(ctx, cancel, endpoint, &u, r)
		if err != nil {
			return nil, &endpointError{cause: err}
		}
		if answer.StatusCode/100 != 3 {
			return c.take(endpoint, answer)
		}
		answer.Body.Close()
		next, err := location(&u, answer.Header)
		if err != nil {
			return nil, &endpointError{cause: err}
		}
		u = *next
	}
	return nil, &endpointError{cause: errors.New("client: too many redirects")}
}

// location is where an answer leads.
func location(from *url.URL, header http.Header) (*url.URL, error) {
	text := header.Get("Location")
	if text == "" {
		return nil, errors.New("client: Location header not set")
	}
	next, err := from.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("client: Location header not valid URL: %s", text)
	}
	return next, nil
}

// send returns once the header of an answer is there, or ends the request with
// cancel when that takes too long. The caller closes the body.
func (c *Client) send(ctx context.Context, cancel func(), endpoint, u *url.URL, r Request) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, r.Method, u.String(), bytes.NewReader(r.Body))
	if err != nil {
		return nil, err
	}
	if r.ContentType != "" {
		req.Header.Set("Content-Type", r.ContentType)
	}
	switch {
	case c.cfg.Username != "" && c.isEndpoint(u):
		req.SetBasicAuth(c.cfg.Username, c.cfg.Password)
	case u.User != nil:
		password, _ := u.User.Password()
		req.SetBasicAuth(u.User.Username(), password)
	}
	if c.cfg.Timeout < 0 || r.Waits {
		return c.cfg.Transport.RoundTrip(req)
	}
	slow := time.AfterFunc(c.cfg.Timeout, cancel)
	answer, err := c.cfg.Transport.RoundTrip(req)
	if slow.Stop() {
		return answer, err
	}
	if err == nil {
		answer.Body.Close()
	}
	return nil, fmt.Errorf("client: endpoint %s exceeded header timeout", endpoint.Redacted())
}

// take reads an answer that is no redirect.
func (c *Client) take(endpoint *url.URL, answer *http.Response) (*Answer, error) {
	defer answer.Body.Close()
	switch {
	case answer.StatusCode == http.StatusInternalServerError || answer.StatusCode == http.StatusServiceUnavailable:
		return nil, &endpointError{cause: fmt.Errorf("client: etcd member %s has no leader", endpoint.Redacted())}
	case answer.StatusCode >= 500:
		return nil, &endpointError{cause: fmt.Errorf("client: etcd member %s returns server error [%s]", endpoint.Redacted(), http.StatusText(answer.StatusCode))}
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, c.cfg.AnswerBytesMax+1))
	if err != nil {
		return nil, &endpointError{cause: err}
	}
	if int64(len(body)) > c.cfg.AnswerBytesMax {
		return nil, ErrTooLong
	}
	return &Answer{Status: answer.StatusCode, Header: answer.Header, Body: body}, nil
}
