package v2

import (
	"net/http"
	"net/url"
	"path"
	"strings"
)

// isClean reports whether a decoded path may be routed: it begins with a slash
// and has no empty, "." or ".." segment; one slash may end it.
func isClean(p string) bool {
	if p == "" || p[0] != '/' {
		return false
	}
	for {
		i := strings.IndexByte(p[1:], '/')
		if i < 0 {
			return !isDots(p[1:])
		}
		if i == 0 || isDots(p[1:1+i]) {
			return false
		}
		p = p[1+i:]
	}
}

// isDots reports whether a segment is "." or "..".
func isDots(segment string) bool {
	return len(segment) <= 2 && (segment == "." || segment == "..")
}

// cleanPath makes a path isClean accepts. It keeps a slash at the end, and ".."
// stops at the root.
func cleanPath(p string) string {
	clean := path.Clean("/" + p)
	if strings.HasSuffix(p, "/") && clean != "/" {
		clean += "/"
	}
	return clean
}

// redirect sends the client to the clean path, query unchanged. Answering there
// and then would be friendlier, but 2.3.8 executes nothing under such a path.
func redirect(w http.ResponseWriter, r *http.Request, clean string) {
	u := url.URL{Path: clean, RawQuery: r.URL.RawQuery}
	http.Redirect(w, r, u.String(), http.StatusMovedPermanently)
}

// cutKeys returns what follows /v2/keys in a clean path.
func cutKeys(p string) (key string, ok bool) {
	key, ok = strings.CutPrefix(p, "/v2/keys")
	return key, ok && (key == "" || key[0] == '/')
}

// storePath is where the key of a clean path lives in the store. The result
// always lies in /1.
func storePath(key string) string {
	return "/1" + strings.TrimSuffix(key, "/")
}
