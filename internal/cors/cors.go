// Package cors tells browsers which web pages may use the API of a client port.
//
// Members and proxies share it, so that a page meets the same rules at both.
package cors

import (
	"net/http"
	"slices"
)

// The headers that let a page in.
const (
	allowOrigin  = "Access-Control-Allow-Origin"
	allowMethods = "Access-Control-Allow-Methods"
	allowHeaders = "Access-Control-Allow-Headers"
)

// Policy knows the origins that may call. The zero Policy lets nobody in. It does
// not change once made and may be used by any goroutine.
type Policy struct {
	origins []string
	anyone  bool
}

// New lets pages of these origins in, which are compared as a whole with what the
// browser sends, or with "*" all pages.
func New(origins []string) Policy {
	return Policy{origins: origins, anyone: slices.Contains(origins, "*")}
}

// Allow adds the headers that let the origin in, in place of those that are there,
// if it may call. The origin is what the request says, "" for none.
func (p *Policy) Allow(header http.Header, origin string) {
	switch {
	case p.anyone:
		origin = "*"
	case origin == "" || !slices.Contains(p.origins, origin):
		return
	}
	header.Set(allowMethods, "POST, GET, OPTIONS, PUT, DELETE")
	header.Set(allowOrigin, origin)
	header.Set(allowHeaders, "accept, content-type, authorization")
}
